"""What is measured on a GPU: types, layouts and targets of one picture size, as operations on the host's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.model_info import Precision
from repsr_kernels.operations import FusedUpsample, Picture, Preprocess, Skip
from repsr_kernels.tensors import Layout, Tensor, Type, on_host
from repsr_kernels.yuv import YuvColour, YuvFrame

Target = Literal["uint8", "planes", "NV12", "P010"]
"""`planes`: of the features' type."""
COLOUR = YuvColour(matrix="bt709")
FLOATS: dict[Type, Precision] = {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}
LAYOUTS: dict[Layout, str] = {"nchw": "planes", "nhwc": "channels-last"}


@dataclass(frozen=True, kw_only=True)
class Upsampling:
    """From features to a picture."""

    type: Type = "fp16"
    layout: Layout = "nchw"
    skip: Skip = "nearest"
    target: Target = "uint8"

    def data(self, scale: int) -> str:
        """In a row's key."""
        target = f"{self.type} planes" if self.target == "planes" else self.target
        return f"x{scale}, skip {self.skip}, {self.type} {LAYOUTS[self.layout]} to {target}"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """From a picture to a network's input."""

    source: Literal["uint8", "NV12"] = "uint8"
    type: Type = "fp16"
    layout: Layout = "nchw"

    @property
    def data(self) -> str:
        """In a row's key."""
        return f"{self.source} to {self.type} {LAYOUTS[self.layout]}"


UPSAMPLINGS = (
    Upsampling(),
    Upsampling(type="fp32"),
    Upsampling(type="bf16"),
    Upsampling(layout="nhwc"),
    Upsampling(skip="none"),
    Upsampling(skip="bilinear"),
    Upsampling(target="planes"),
    Upsampling(target="NV12"),
    Upsampling(target="P010"),
)
"""The first is the one whose speed counts."""
PREPARATIONS = (Preparation(), Preparation(layout="nhwc"), Preparation(type="fp32"), Preparation(source="NV12"))


def upsampling_operation(
    case: Upsampling, features_chw: NDArray[np.float32], image_hwc: NDArray[np.uint8], scale: int
) -> FusedUpsample:
    """On new memory of the host; float32 features are rounded to the case's type."""
    axes = (0, 1, 2) if case.layout == "nchw" else (1, 2, 0)
    features = np.ascontiguousarray(typed(features_chw, case.type).transpose(axes))
    height, width = image_hwc.shape[:2]
    return FusedUpsample(
        features=on_host(features, case.layout, type=case.type),
        image=None if case.skip == "none" else on_host(image_hwc, "nhwc"),
        out=_target(case, height * scale, width * scale),
        scale=scale,
        skip=case.skip,
    )


def preparation_operation(case: Preparation, image_hwc: NDArray[np.uint8]) -> Preprocess:
    """On new memory of the host; a video frame shows noise."""
    height, width = image_hwc.shape[:2]
    source: Picture = on_host(image_hwc, "nhwc") if case.source == "uint8" else noise_frame(height, width)
    return Preprocess(source=source, out=_floats(case.type, case.layout, height, width))


def noise_frame(height: int, width: int) -> YuvFrame:
    """NV12 with every code value in it."""
    random = np.random.default_rng(0)
    luma = random.integers(0, 256, (1, height, width), np.uint8)
    chroma = random.integers(0, 256, (-(-height // 2), -(-width // 2), 2), np.uint8)
    return YuvFrame(on_host(luma, "nchw"), on_host(chroma, "nhwc"), colour=COLOUR)


def typed(values: NDArray[np.float32], type: Type) -> NDArray[Any]:  # noqa: A002 # the field's word
    """float32 rounded to a type of floats, half to even; bf16 as its bits."""
    if type == "bf16":
        bits = values.view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
            np.uint16
        )
    return values.astype({"fp16": np.float16, "fp32": np.float32}[type])


def as_float32(values: NDArray[Any], type: Type) -> NDArray[np.float32]:  # noqa: A002
    """The inverse of `typed`: exact."""
    if type == "bf16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32)


def _target(case: Upsampling, height: int, width: int) -> Picture:
    if case.target == "uint8":
        return on_host(np.zeros((height, width, 3), np.uint8), "nhwc")
    if case.target == "planes":
        return _floats(case.type, "nchw", height, width)
    sample = np.uint8 if case.target == "NV12" else np.uint16
    luma = np.zeros((1, height, width), sample)
    chroma = np.zeros((-(-height // 2), -(-width // 2), 2), sample)
    return YuvFrame(on_host(luma, "nchw"), on_host(chroma, "nhwc"), colour=COLOUR)


def _floats(type: Type, layout: Layout, height: int, width: int) -> Tensor:  # noqa: A002
    shape = (3, height, width) if layout == "nchw" else (height, width, 3)
    return on_host(typed(np.zeros(shape, np.float32), type), layout, type=type)
