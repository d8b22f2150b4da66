"""Operations as the structures of `csrc/params.cuh`, byte for byte."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_uint64

import numpy as np

from repsr_kernels.operations import FusedUpsample, Padding, Picture, Preprocess, Skip
from repsr_kernels.tensors import Tensor, Type
from repsr_kernels.yuv import Siting, YuvFrame

TYPES: dict[Type, int] = {"fp32": 0, "fp16": 1, "bf16": 2, "uint8": 3, "uint16": 4}
SKIPS: dict[Skip, int] = {"none": 0, "nearest": 1, "bilinear": 2}
PADDINGS: dict[Padding, int] = {"zero": 0, "edge": 1, "reflect": 2, "wrap": 3}
SITINGS: dict[Siting, int] = {"left": 0, "center": 1, "top-left": 2}


class View(ctypes.Structure):
    """A tensor."""

    _fields_ = (
        ("data", c_uint64), ("image", c_int64), ("channel", c_int64), ("row", c_int64), ("pixel", c_int64),
        ("type", c_int32), ("reserved", c_int32),
    )  # fmt: skip


class Yuv(ctypes.Structure):
    """Colours of a video frame."""

    _fields_ = (("matrix", c_float * 9), ("offset", c_float * 3), ("bits", c_int32), ("siting", c_int32))


class FusedUpsampleParams(ctypes.Structure):
    """What the kernel of `FusedUpsample` is told."""

    _fields_ = (
        ("features", View), ("image", View), ("out", View), ("chroma", View), ("yuv", Yuv), ("nonfinite", c_uint64),
        ("count", c_int32), ("height", c_int32), ("width", c_int32),
        ("top", c_int32), ("left", c_int32), ("rows", c_int32), ("columns", c_int32),
        ("channels", c_int32), ("scale", c_int32), ("skip", c_int32),
        ("low", c_float), ("span", c_float), ("gain", c_float), ("reserved", c_int32),
    )  # fmt: skip


class PreprocessParams(ctypes.Structure):
    """What the kernel of `Preprocess` is told."""

    _fields_ = (
        ("source", View), ("chroma", View), ("out", View), ("yuv", Yuv),
        ("count", c_int32), ("height", c_int32), ("width", c_int32), ("top", c_int32), ("left", c_int32),
        ("rows", c_int32), ("columns", c_int32), ("channels", c_int32), ("out_channels", c_int32),
        ("padding", c_int32), ("low", c_float), ("span", c_float),
    )  # fmt: skip


Params = FusedUpsampleParams | PreprocessParams


def params_of(operation: FusedUpsample | Preprocess) -> Params:
    """The structure that tells a kernel to do this."""
    low, high = (np.float32(value) for value in operation.range)
    span = np.float32(high - low)
    if isinstance(operation, FusedUpsample):
        count, _, height, width = operation.features.shape
        part = operation.part
        luma, chroma, yuv = _views(operation.out, to_codes=True)
        return FusedUpsampleParams(
            features=view_of(operation.features), image=view_of(operation.image), out=luma, chroma=chroma, yuv=yuv,
            nonfinite=operation.nonfinite or 0, count=count, height=height, width=width,
            top=part.top, left=part.left, rows=part.rows, columns=part.columns,
            channels=operation.channels, scale=operation.scale, skip=SKIPS[operation.skip],
            low=low, span=span, gain=np.float32(1) / span,
        )  # fmt: skip
    count, channels, height, width = operation.source.shape
    _, out_channels, rows, columns = operation.out.shape
    luma, chroma, yuv = _views(operation.source, to_codes=False)
    return PreprocessParams(
        source=luma, chroma=chroma, out=view_of(operation.out), yuv=yuv, count=count, height=height, width=width,
        top=operation.top, left=operation.left, rows=rows, columns=columns,
        channels=channels, out_channels=out_channels, padding=PADDINGS[operation.padding], low=low, span=span,
    )  # fmt: skip


def view_of(tensor: Tensor | None) -> View:
    """A tensor, or none."""
    if tensor is None:
        return View()
    image, channel, row, pixel = tensor.strides
    return View(
        data=tensor.address, image=image, channel=channel, row=row, pixel=pixel, type=TYPES[tensor.type]
    )  # fmt: skip


def _views(picture: Picture, *, to_codes: bool) -> tuple[View, View, Yuv]:
    """Luma or the picture, chroma or none, and its colours."""
    if not isinstance(picture, YuvFrame):
        return view_of(picture), View(), Yuv()
    matrix, offset = picture.colour.codes(picture.bits)
    if not to_codes:
        matrix = picture.colour.colours(picture.bits)
    yuv = Yuv(
        matrix=(c_float * 9)(*matrix.astype(np.float32).ravel().tolist()),
        offset=(c_float * 3)(*offset.tolist()),
        bits=picture.bits,
        siting=SITINGS[picture.colour.siting],
    )
    return view_of(picture.luma), view_of(picture.chroma), yuv
