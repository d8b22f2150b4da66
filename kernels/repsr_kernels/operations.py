"""The two operations around a network, checked when they are made: whoever runs one need not check again.

`reference.run` computes them in NumPy, `cpu.run` on processors, `gpu.launch` on GPUs; all write the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from repsr_kernels.errors import UsageError
from repsr_kernels.tensors import LONGEST_SIDE, Tensor, Type, apart
from repsr_kernels.yuv import YuvFrame

Skip = Literal["none", "nearest", "bilinear"]
Padding = Literal["zero", "edge", "reflect", "wrap"]
Picture = Tensor | YuvFrame

FLOATS: tuple[Type, ...] = ("fp32", "fp16", "bf16")
SCALES = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of LR pixels."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class FusedUpsample:
    """From a network's features to pictures: PixelShuffle, skip, denormalisation, clamp and rounding in one pass.

    With v = features[n, c s s + (Y mod s) s + X mod s, Y div s, X div s] + skip[n, c, Y, X], all in float32 and without
    fused multiply-adds:

    - out of floats: clamp((v - low) * gain, 0, 1), gain = 1 / (high - low), rounded to out's type; NaN stays NaN, and 0
      has no sign;
    - out of uint8: that times 255, rounded half to even; NaN gives 0;
    - a video frame: that as red, green, blue (NaN gives 0), by its matrix (`YuvColour.codes`, rounded to float32)
      ((m0 r + m1 g) + m2 b) + offset, rounded half to even and clamped to the bits. A chroma sample (Y, X) is that of a
      mean colour: along columns of 2 Y - 1, 2 Y, 2 Y + 1 with weights 1/4, 1/2, 1/4 where it is sited on a row, of
      2 Y, 2 Y + 1 with 1/2 each where it lies between two; then along rows in the same way. These pixels may lie beyond
      the crop; beyond the features the last one is repeated. (a w + b w) or ((a w + b w') + c w) in float32.

    The skip repeats the image's pixels (nearest), or takes a (1 - t) + b t down the columns, then along the rows
    (bilinear, pixel centres aligned, last pixels repeated): t = (2 i + 1 - s) / 2 s, plus 1 where negative, in float32,
    for i = Y mod s, X mod s. An image of uint8 counts as low + (x / 255) span, span = high - low in float32; one of
    floats as it is. PixelShuffle: Shi et al., CVPR 2016.

    Raises:
        UsageError: types, layouts, shapes, memories or numbers that do not go together.
    """

    features: Tensor
    """N x C s^2 x H x W of floats; C is 1 or 3. Columns beside each other in memory, or channels."""
    image: Tensor | None = None
    """N x C x H x W of uint8 or floats, in 0..1 of `range` as the network saw them; None without skip."""
    out: Picture
    """N x C x s rows x s columns, uint8 or floats in 0..1; or a video frame of that size, C = 3."""
    scale: int
    skip: Skip = "none"
    crop: Crop | None = None
    """The part that is finished; None for all of it."""
    range: tuple[float, float] = (0.0, 1.0)
    """What the network calls black and white."""
    nonfinite: int | None = None
    """Address, in the memory of the tensors, of an unsigned integer of 64 bits to which the number of samples of `out`
    whose v is NaN or infinite is added."""

    def __post_init__(self) -> None:
        _check_choice("skip", self.skip, get_args(Skip))
        checked_range(self.range)
        if self.scale not in SCALES:
            raise UsageError(f"scale is {self.scale}; expected one of {', '.join(map(str, SCALES))}")
        count, depth, height, width = self.features.shape
        channels = depth // self.scale**2
        if self.features.type not in FLOATS or channels not in (1, 3) or channels * self.scale**2 != depth:
            raise UsageError(
                f"features are {self.features.type} with {depth} channels; expected {', '.join(FLOATS)} with "
                f"{self.scale**2} or {3 * self.scale**2} at scale {self.scale}"
            )
        if self.features.strides[3] != 1 and self.features.strides[1] != 1:
            raise UsageError(
                f"features have the strides {self.features.strides}; expected columns or channels to lie side by side"
            )
        if (self.image is None) != (self.skip == "none"):
            raise UsageError(f"skip is {self.skip}, image is {self.image}; expected an image for a skip, none without")
        if self.image is not None and (
            self.image.shape != (count, channels, height, width) or self.image.type not in ("uint8", *FLOATS)
        ):
            raise UsageError(
                f"image is {self.image.type} of shape {self.image.shape}; expected uint8 or floats of shape "
                f"{(count, channels, height, width)}"
            )
        part = self.part
        if not (0 <= part.top < part.top + part.rows <= height and 0 <= part.left < part.left + part.columns <= width):
            raise UsageError(f"crop {part} does not lie in features of {height} x {width}")
        made = (count, channels, part.rows * self.scale, part.columns * self.scale)
        if max(made[2:]) > LONGEST_SIDE:
            raise UsageError(f"picture would be {made[3]} x {made[2]} pixels; expected sides up to {LONGEST_SIDE}")
        allowed = ("uint8", *FLOATS)
        if self.out.shape != made or (isinstance(self.out, Tensor) and self.out.type not in allowed):
            raise UsageError(
                f"out is {_said(self.out)}; expected shape {made}, of {', '.join(allowed)}, or a video frame of that "
                "size"
            )
        if self.nonfinite is not None and (self.nonfinite <= 0 or self.nonfinite % 8):
            raise UsageError(f"nonfinite lies at {self.nonfinite:#x}; expected a multiple of 8 above 0")
        check_memories([self.features, *_tensors(self.image)], _tensors(self.out))

    @property
    def channels(self) -> int:
        """Colours: 1 or 3."""
        return self.features.shape[1] // self.scale**2

    @property
    def part(self) -> Crop:
        """The part that is finished."""
        _, _, height, width = self.features.shape
        return self.crop or Crop(top=0, left=0, rows=height, columns=width)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """From pictures to a network's input: colours, normalisation, layout and the border of a tile, in one pass.

    out[n, c, y, x] = low + value * span, span = high - low, all in float32 without fused multiply-adds and rounded to
    out's type, where value is the source's sample at (top + y, left + x): x / 255 for uint8; of a video frame red,
    green and blue, clamped to 0..1, from (m0 Y + m1 Cb) + m2 Cr, codes without their offsets and m that of
    `YuvColour.colours`, rounded to float32. Chroma between samples is interpolated down the columns, then along the
    rows, as a (1 - t) + b t (t is 1/2, or 1/4 and 3/4), the last sample repeated. Beyond the source lies 0 (`zero`: not
    low), its last pixel (`edge`), its mirror image without the last pixel (`reflect`), or its other side (`wrap`); the
    last two as often as it takes. Channels of out beyond the source's are 0.

    Raises:
        UsageError: types, layouts, shapes, memories or numbers that do not go together.
    """

    source: Picture
    """N x C x H x W of uint8, or a video frame; C is 1 or 3."""
    out: Tensor
    """N x C x rows x columns of floats, or more channels. Columns beside each other in memory, or channels."""
    top: int = 0
    """Row of the source that becomes the first row; below 0 or beyond its end for a border."""
    left: int = 0
    padding: Padding = "edge"
    range: tuple[float, float] = (0.0, 1.0)
    """What the network calls black and white."""

    def __post_init__(self) -> None:
        _check_choice("padding", self.padding, get_args(Padding))
        checked_range(self.range)
        count, channels = self.source.shape[:2]
        if channels not in (1, 3) or (isinstance(self.source, Tensor) and self.source.type != "uint8"):
            raise UsageError(f"source is {_said(self.source)}; expected uint8 with 1 or 3 channels, or a video frame")
        if self.out.type not in FLOATS or self.out.shape[0] != count or self.out.shape[1] < channels:
            raise UsageError(
                f"out is {_said(self.out)}; expected {', '.join(FLOATS)} of {count} images with {channels} or more "
                "channels"
            )
        if self.out.strides[3] != 1 and self.out.strides[1] != 1:
            raise UsageError(
                f"out has the strides {self.out.strides}; expected columns or channels to lie side by side"
            )
        for name, value in (("top", self.top), ("left", self.left)):
            if not -LONGEST_SIDE // 2 <= value <= LONGEST_SIDE // 2:
                raise UsageError(f"{name} is {value}; expected at most {LONGEST_SIDE // 2} beyond 0 on either side")
        check_memories(_tensors(self.source), [self.out])


def checked_range(values: tuple[float, float]) -> tuple[float, float]:
    """Black and white of a network.

    Raises:
        UsageError: in float32, they, their difference or one through it are not finite, or white is not above black.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        low, high = (np.float32(value) for value in values)
        gain = np.float32(1) / (high - low)
    if not (np.isfinite(low) and np.isfinite(high) and 0 < gain < np.inf):
        raise UsageError(f"range is {values}; expected black below white, finite and apart in float32")
    return values


def check_memories(read: Sequence[Tensor], written: Sequence[Tensor]) -> None:
    """Refuse tensors of different memories, and results that overlap anything, overlap themselves or are read-only.

    Raises:
        UsageError: says which.
    """
    everything = [*read, *written]
    devices = {tensor.device for tensor in everything}
    if len(devices) > 1:
        named = ", ".join("the host" if device is None else f"GPU {device}" for device in sorted(devices, key=str))
        raise UsageError(f"tensors lie in different memories: {named}; expected one")
    for index, tensor in enumerate(written):
        others = [*read, *written[:index]]
        if not all(apart(tensor, other) for other in others):
            raise UsageError("what is written overlaps what is read or written elsewhere; expected memory of its own")
        if isinstance(tensor.owner, np.ndarray) and not tensor.owner.flags.writeable:
            raise UsageError("out is a read-only array; expected one that can be written")
        _check_distinct(tensor)


def _check_distinct(tensor: Tensor) -> None:
    """Refuse a tensor with two elements in one place, as far as strides that grow from axis to axis tell."""
    axes = sorted((abs(stride), side) for stride, side in zip(tensor.strides, tensor.shape, strict=True) if side > 1)
    reach = 0
    for stride, side in axes:
        if stride <= reach:
            raise UsageError(
                f"out of shape {tensor.shape} has the strides {tensor.strides}, so that elements overlap; expected "
                "rows and images that are at least as far apart as they are long"
            )
        reach += stride * (side - 1)


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UsageError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")


def _tensors(picture: Picture | None) -> list[Tensor]:
    if picture is None:
        return []
    return [picture] if isinstance(picture, Tensor) else [picture.luma, picture.chroma]


def _said(picture: Picture) -> str:
    kind = picture.type if isinstance(picture, Tensor) else f"a video frame of {picture.bits} bits"
    return f"{kind} of shape {picture.shape}"
