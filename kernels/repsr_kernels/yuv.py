"""Video frames of luma and half-size chroma, 4:2:0: NV12 with 8 bits a sample, P010 with 10."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError
from repsr_kernels.tensors import Tensor

MatrixName = Literal["bt601", "bt709", "bt2020"]
Siting = Literal["left", "center", "top-left"]

LUMA_WEIGHTS: dict[MatrixName, tuple[float, float, float]] = {
    "bt601": (0.299, 0.587, 0.114),
    "bt709": (0.2126, 0.7152, 0.0722),
    "bt2020": (0.2627, 0.6780, 0.0593),
}
"""Of red, green and blue: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance)."""


@dataclass(frozen=True, kw_only=True)
class YuvColour:
    """How the samples of a video frame mean colours."""

    matrix: MatrixName
    full_range: bool = False
    """Whether black and white are 0 and 255, not 16 and 235 (of 8 bits)."""
    siting: Siting = "left"
    """Where a chroma sample lies among its four luma samples: beside the left ones, in the middle, on the first one.
    H.273 `ChromaSampleLocType` 0, 1 and 2."""

    def __post_init__(self) -> None:
        for name, value, allowed in (("matrix", self.matrix, MatrixName), ("siting", self.siting, Siting)):
            if value not in get_args(allowed):
                raise UsageError(f"{name} of video colours is {value!r}; expected {', '.join(get_args(allowed))}")

    def codes(self, bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Matrix 3 x 3 and offset 3 that make Y, Cb, Cr code values of `bits` from red, green, blue in 0..1.

        ITU-T H.273 (07/2024), equations 20 to 43.
        """
        red, green, blue = LUMA_WEIGHTS[self.matrix]
        luma = np.array([red, green, blue])
        chroma_blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - blue))
        chroma_red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - red))
        unit = 2.0 ** (bits - 8)
        black = 0.0 if self.full_range else 16 * unit
        matrix = np.stack([luma, chroma_blue, chroma_red]) * self._gains(bits)[:, None]
        return matrix, np.array([black, 128 * unit, 128 * unit])

    def colours(self, bits: int) -> NDArray[np.float64]:
        """Matrix 3 x 3 that makes red, green, blue in 0..1 from Y, Cb, Cr code values of `bits` without their offset.

        The inverse of that of `codes`, solved by hand: what is 0 in it is 0, and gray has three times the same number.
        """
        red, green, blue = LUMA_WEIGHTS[self.matrix]
        of_blue, of_red = 2 * (1 - blue), 2 * (1 - red)
        solved = [[1, 0, of_red], [1, -of_blue * blue / green, -of_red * red / green], [1, of_blue, 0]]
        return np.array(solved) / self._gains(bits)

    def _gains(self, bits: int) -> NDArray[np.float64]:
        """Code values from black to white, and from the lowest to the highest chroma."""
        return np.full(3, 2.0**bits - 1) if self.full_range else np.array([219.0, 224.0, 224.0]) * 2.0 ** (bits - 8)


@dataclass(frozen=True)
class YuvFrame:
    """A batch of video frames: luma N x 1 x H x W, chroma N x 2 x ceil(H / 2) x ceil(W / 2), Cb before Cr.

    Samples are uint8 (NV12), or uint16 whose upper ten bits count (P010).

    Raises:
        UsageError: other types or shapes, or planes in different memories.
    """

    luma: Tensor
    chroma: Tensor
    _: KW_ONLY
    colour: YuvColour
    bits: int = field(init=False)

    def __post_init__(self) -> None:
        luma, chroma = self.luma, self.chroma
        if luma.type != chroma.type or luma.type not in ("uint8", "uint16") or luma.device != chroma.device:
            raise UsageError(
                f"video frame has luma of {luma.type} (device {luma.device}) and chroma of {chroma.type} (device "
                f"{chroma.device}); expected uint8 (NV12) or uint16 (P010), both in one memory"
            )
        count, _, height, width = luma.shape
        expected = (count, 2, -(-height // 2), -(-width // 2))
        if luma.shape[1] != 1 or chroma.shape != expected:
            raise UsageError(
                f"video frame has luma {luma.shape} and chroma {chroma.shape}; expected {(count, 1, height, width)} "
                f"and {expected}"
            )
        object.__setattr__(self, "bits", 8 if luma.type == "uint8" else 10)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As of the picture that it shows: N x 3 x H x W."""
        return self.luma.shape[0], 3, self.luma.shape[2], self.luma.shape[3]

    @property
    def device(self) -> int | None:
        """Of its memory, as `Tensor.device`."""
        return self.luma.device

    def part(self, top: int, left: int, rows: int, columns: int) -> YuvFrame:
        """A rectangle of all frames, in the same memory, that cuts no chroma sample but at the edge.

        Raises:
            UsageError: it does not lie within, or cuts through a chroma sample.
        """
        _, _, height, width = self.shape
        ends = ((top + rows, height), (left + columns, width))
        if top % 2 or left % 2 or any(end % 2 and end != side for end, side in ends):
            raise UsageError(
                f"part of {rows} x {columns} pixels at row {top}, column {left} cuts through 2 x 2 pixels that share "
                "a chroma sample; expected even numbers"
            )
        luma = self.luma.part(top, left, rows, columns)
        chroma = self.chroma.part(top // 2, left // 2, -(-rows // 2), -(-columns // 2))
        return YuvFrame(luma, chroma, colour=self.colour)
