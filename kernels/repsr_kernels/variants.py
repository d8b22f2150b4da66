"""Which text a kernel is compiled from for an operation, and over which grid it is launched: nothing happens here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from repsr_kernels.operations import FusedUpsample, Picture, Preprocess
from repsr_kernels.params import PADDINGS, SKIPS, TYPES
from repsr_kernels.tensors import Tensor, Type
from repsr_kernels.yuv import YuvFrame

Dim3 = tuple[int, int, int]

PICTURE_PIXELS = {1: 8, 2: 8, 3: 4, 4: 4}
"""LR pixels of a row that a thread makes, by scale: enough for whole vector stores, too few for registers to spill."""
VIDEO_PIXELS = {1: 8, 2: 4, 3: 4, 4: 2}
"""The same for video frames, of which a thread holds two rows."""
PREPROCESS_PIXELS = 8
BLOCK: Dim3 = (32, 4, 1)
_MOST_BLOCKS = 65535  # of a grid along y and z, whatever the GPU; kernels go on with steps of the grid's size


@dataclass(frozen=True)
class Variant:
    """A kernel with its compile-time constants."""

    kernel: str
    """The file in `csrc`, without `.cu`."""
    constants: tuple[tuple[str, int], ...]
    """Names without `REPSR_`, in lower case, and values."""

    @property
    def name(self) -> str:
        """Of the function, as profilers show it: another for every variant."""
        said = (f"{name}{value}".replace("-", "m") for name, value in self.constants)
        return "_".join((self.kernel, *said))

    @property
    def text(self) -> str:
        """What a compiler is given; it finds the rest in `csrc`."""
        defines = {"REPSR_NAME": self.name} | {f"REPSR_{name.upper()}": value for name, value in self.constants}
        lines = [f"#define {name} {value}" for name, value in defines.items()]
        return "\n".join((*lines, f'#include "{self.kernel}.cu"', ""))


def variant_of(operation: FusedUpsample | Preprocess) -> Variant:
    """The kernel that does this."""
    if isinstance(operation, Preprocess):
        return preprocess_variant(
            out=operation.out.type,
            planar=_is_planar(operation.out),
            video=_bits(operation.source),
            padding=PADDINGS[operation.padding],
        )
    return fused_variant(
        scale=operation.scale,
        channels=operation.channels,
        features=operation.features.type,
        planar=_is_planar(operation.features),
        skip=SKIPS[operation.skip],
        image=operation.image.type if operation.image is not None else None,
        out=_luma(operation.out).type,
        video=_bits(operation.out),
    )


def fused_variant(
    *, scale: int, channels: int, features: Type, planar: bool, skip: int, image: Type | None, out: Type, video: int
) -> Variant:
    """The kernel of `FusedUpsample`. `planar` is about the features; `video` is 8 or 10 bits, 0 for a picture."""
    constants = {
        "scale": scale, "channels": channels, "pixels": (VIDEO_PIXELS if video else PICTURE_PIXELS)[scale],
        "features": TYPES[features],
        "planar": int(planar), "skip": skip, "image": -1 if image is None else TYPES[image], "out": TYPES[out],
        "video": video,
    }  # fmt: skip
    return Variant("fused_upsample", tuple(constants.items()))


def preprocess_variant(*, out: Type, planar: bool, video: int, padding: int) -> Variant:
    """The kernel of `Preprocess`. `planar` is about the result; `video` is 8 or 10 bits, 0 for a picture."""
    constants = {
        "pixels": PREPROCESS_PIXELS, "out": TYPES[out], "planar": int(planar), "video": video, "padding": padding,
    }  # fmt: skip
    return Variant("preprocess", tuple(constants.items()))


def usual_variants() -> list[Variant]:
    """What networks of colour pictures with a nearest skip need: scales 2 to 4, half precision in both layouts and
    single precision, to pictures and to video, from both. Other variants are compiled when they are first used."""
    networks: Sequence[tuple[Type, bool]] = (("fp16", True), ("fp16", False), ("fp32", True))
    results: Sequence[tuple[Type, int]] = (("uint8", 0), ("uint8", 8), ("uint16", 10))
    fused = [
        fused_variant(
            scale=scale, channels=3, features=features, planar=planar, skip=SKIPS["nearest"], image=image, out=out,
            video=video,
        )
        for scale, (features, planar), (out, video) in product((2, 3, 4), networks, results)
        for image in _images(features)
    ]  # fmt: skip
    prepared = [
        preprocess_variant(out=out, planar=planar, video=video, padding=PADDINGS["edge"])
        for (out, planar), video in product(networks, (0, 8, 10))
    ]
    return fused + prepared


def _images(features: Type) -> tuple[Type, Type]:
    """What a skip may be taken from: the picture itself; of a video frame there is only the network's input."""
    return "uint8", features


def grid_of(operation: FusedUpsample | Preprocess) -> tuple[Dim3, Dim3]:
    """Blocks of the grid and threads of a block: along x a thread makes some pixels of a row; along y one row of LR
    pixels, of a video frame a pair of rows, of a network's input a row; along z one image."""
    if isinstance(operation, Preprocess):
        count, _, rows, columns = operation.out.shape
        pixels = PREPROCESS_PIXELS
    else:
        count, part = operation.features.shape[0], operation.part
        is_video = isinstance(operation.out, YuvFrame)
        columns, pixels = part.columns, (VIDEO_PIXELS if is_video else PICTURE_PIXELS)[operation.scale]
        rows = _ceil(part.rows * operation.scale, 2) if is_video else part.rows
    across = _ceil(_ceil(columns, pixels), BLOCK[0])
    return (across, min(_ceil(rows, BLOCK[1]), _MOST_BLOCKS), min(count, _MOST_BLOCKS)), BLOCK


def _is_planar(tensor: Tensor) -> bool:
    return tensor.strides[3] == 1


def _luma(picture: Picture) -> Tensor:
    return picture.luma if isinstance(picture, YuvFrame) else picture


def _bits(picture: Picture) -> int:
    return picture.bits if isinstance(picture, YuvFrame) else 0


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
