"""Random operations with memory of their own: any valid shape, type, layout, pitch and alignment, margins poisoned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.operations import FLOATS, Crop, FusedUpsample, Preprocess, Skip
from repsr_kernels.reference.samples import store
from repsr_kernels.tensors import ITEM_BYTES, Tensor, Type
from repsr_kernels.yuv import LUMA_WEIGHTS, Siting, YuvColour, YuvFrame

Operation = FusedUpsample | Preprocess
Bytes = NDArray[np.uint8]
Shape = tuple[int, int, int, int]

ALIGNED = 64
"""Bytes; buffers begin at multiples of it, so that offsets within them decide about alignment everywhere."""
RANGES = ((0.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5), (0.0625, 0.9375), (-103.5, 151.25))
MATRICES = tuple(LUMA_WEIGHTS)
SITINGS: tuple[Siting, ...] = ("left", "center", "top-left")
EXTREMES = np.array(
    [np.nan, np.inf, -np.inf, -0.0, 1e-45, -1e-45, 6e-8, -6e-8, 1e-40, 65504, -65504, 3.4028235e38, -3.4028235e38],
    np.float32,
)


@dataclass(frozen=True)
class Case:
    """An operation and the memory that it uses, by name; of what is written, the content before it runs."""

    operation: Operation
    buffers: Mapping[str, Bytes]
    before: Mapping[str, Bytes]

    def run(self, run: Callable[[Any], object]) -> dict[str, Bytes]:
        """Everything that is written, and what lies around it, after `run` has done the operation."""
        for name, content in self.before.items():
            self.buffers[name][...] = content
        run(self.operation)
        return {name: self.buffers[name].copy() for name in self.before}

    def tensors(self) -> dict[str, Tensor]:
        """Those of the operation, named as the buffers that they lie in."""
        operation = self.operation
        if isinstance(operation, FusedUpsample):
            image = {} if operation.image is None else {"image": operation.image}
            return {"features": operation.features} | image | _planes("out", operation.out)
        return _planes("source", operation.source) | {"out": operation.out}

    def moved(self, addresses: Mapping[str, int], device: int) -> Operation:
        """The operation on copies of the buffers, at these addresses of a GPU."""
        delta = {name: addresses[name] - _address(buffer) for name, buffer in self.buffers.items()}

        def there(name: str, tensor: Tensor) -> Tensor:
            return replace(tensor, address=tensor.address + delta[name], device=device, owner=None)

        def picture(name: str, there_is: Tensor | YuvFrame) -> Tensor | YuvFrame:
            if isinstance(there_is, Tensor):
                return there(name, there_is)
            chroma = there("chroma", there_is.chroma)
            return YuvFrame(there(name, there_is.luma), chroma, colour=there_is.colour)

        operation = self.operation
        if isinstance(operation, Preprocess):
            return replace(operation, source=picture("source", operation.source), out=there("out", operation.out))
        counter = operation.nonfinite
        return replace(
            operation,
            features=there("features", operation.features),
            image=None if operation.image is None else there("image", operation.image),
            out=picture("out", operation.out),
            nonfinite=None if counter is None else counter + delta["nonfinite"],
        )


def random_fused_upsample(
    rng: np.random.Generator,
    *,
    scale: int | None = None,
    channels: int | None = None,
    kind: str | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Case:
    """Any valid one, as far as nothing is said; `kind` is `picture` or `video`, sides count LR pixels."""
    scale = scale or int(rng.integers(1, 5))
    kind = kind or str(rng.choice(["picture", "picture", "video"]))
    channels = 3 if kind == "video" else channels or int(rng.choice([1, 3, 3]))
    count, height = int(rng.integers(1, 4)), height or int(rng.integers(1, 41))
    width = width or int(rng.integers(1, 151 if rng.random() < 0.2 else 41))
    crop = _random_crop(rng, height, width) if rng.random() < 0.5 else None
    low, high = RANGES[rng.integers(len(RANGES))]
    skip: Skip = ("none", "nearest", "bilinear")[rng.integers(3)]
    memory = Memory(rng)
    depth = channels * scale**2
    features_type = FLOATS[rng.integers(3)]
    features = memory.place("features", features_type, (count, depth, height, width), dense=True)
    store(_random_values(rng, features.shape, low, high), features)
    image = None
    if skip != "none":
        image_type: Type = ("uint8", "uint8", *FLOATS)[rng.integers(5)]
        image = memory.place("image", image_type, (count, channels, height, width))
        if image_type != "uint8":  # bytes are random already
            store(_random_values(rng, image.shape, low, high), image)
    rows, columns = (crop.rows * scale, crop.columns * scale) if crop else (height * scale, width * scale)
    if kind == "video":
        out = random_frame(rng, memory, "out", count, rows, columns)
    else:
        out_type: Type = ("uint8", "uint8", *FLOATS)[rng.integers(5)]
        out = memory.place("out", out_type, (count, channels, rows, columns))
    nonfinite = memory.counter("nonfinite") if rng.random() < 0.8 else None
    operation = FusedUpsample(
        features=features, image=image, out=out, scale=scale, skip=skip, crop=crop, range=(low, high),
        nonfinite=nonfinite,
    )  # fmt: skip
    return memory.case(operation, written=("out", "chroma", "nonfinite"))


def random_frame(rng: np.random.Generator, memory: Memory, name: str, count: int, height: int, width: int) -> YuvFrame:
    """Any video frame of that size, luma in the buffer `name`, chroma in `chroma`, random bytes in both."""
    kind: Type = "uint8" if rng.random() < 0.5 else "uint16"
    colour = YuvColour(
        matrix=MATRICES[rng.integers(3)], full_range=bool(rng.random() < 0.5), siting=SITINGS[rng.integers(3)]
    )
    luma = memory.place(name, kind, (count, 1, height, width))
    chroma = memory.place("chroma", kind, (count, 2, -(-height // 2), -(-width // 2)))
    return YuvFrame(luma, chroma, colour=colour)


class Memory:
    """Buffers of random bytes, made one after the other."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._buffers: dict[str, Bytes] = {}

    def place(self, name: str, type: Type, shape: Shape, *, dense: bool = False) -> Tensor:  # noqa: A002
        """A tensor somewhere in a buffer of that name. dense: columns or channels lie beside each other."""
        rng = self._rng
        _, channels, height, width = shape
        tight = rng.random() < 0.5

        def apart(length: int, unit: int = 16) -> int:
            """A pitch of so many items or more."""
            return -(-length // unit) * unit if tight else length + int(rng.integers(0, 6)) * int(rng.random() < 0.7)

        if rng.random() < 0.5:
            channel, pixel = 1, channels if dense or rng.random() < 0.8 else channels + int(rng.integers(1, 3))
            if dense:
                pixel = apart(channels, 1 if rng.random() < 0.5 else 8)
            row = apart(width * pixel)
            image = apart(height * row)
        else:
            pixel = 1 if dense or rng.random() < 0.9 else 2
            row = apart(width * pixel)
            channel = apart(height * row)
            image = apart(channels * channel)
        strides = [image, channel, row, pixel]
        for axis in () if dense else (1, 2):  # blue before red, the last row first
            if rng.random() < 0.25:
                strides[axis] = -strides[axis]
        reach = [(side - 1) * stride for side, stride in zip(shape, strides, strict=True)]
        size = ITEM_BYTES[type]
        margin = ALIGNED // size
        first = margin - sum(min(item, 0) for item in reach) + (0 if tight else int(rng.integers(0, 16)))
        buffer = self._buffer(name, (first + sum(max(item, 0) for item in reach) + margin) * size)
        image, channel, row, pixel = strides
        return Tensor(_address(buffer) + first * size, type, shape, (image, channel, row, pixel), owner=buffer)

    def counter(self, name: str) -> int:
        """Where an integer of 64 bits lies, among others."""
        return _address(self._buffer(name, 24)) + 8

    def case(self, operation: Operation, written: tuple[str, ...]) -> Case:
        """The operation with the buffers that were made for it."""
        before = {name: self._buffers[name].copy() for name in written if name in self._buffers}
        return Case(operation, self._buffers, before)

    def _buffer(self, name: str, length: int) -> Bytes:
        memory = np.empty(length + ALIGNED, np.uint8)
        start = -_address(memory) % ALIGNED
        buffer = memory[start : start + length]
        buffer[...] = self._rng.integers(0, 256, length, np.uint8)
        self._buffers[name] = buffer
        return buffer


def _random_crop(rng: np.random.Generator, height: int, width: int) -> Crop:
    top, left = int(rng.integers(height)), int(rng.integers(width))
    rows, columns = int(rng.integers(1, height - top + 1)), int(rng.integers(1, width - left + 1))
    return Crop(top=top, left=left, rows=rows, columns=columns)


def _random_values(rng: np.random.Generator, shape: Shape, low: float, high: float) -> NDArray[np.float32]:
    """Around the range, many of them between two of 256 levels; some extreme ones."""
    values = rng.normal(0.4, 0.5, shape)
    halves = (rng.integers(0, 256, shape) + 0.5) / 255
    values = np.where(rng.random(shape) < 0.2, halves, values) * (high - low) + low
    values = values.astype(np.float32)
    if rng.random() < 0.4:
        extreme = rng.random(shape) < rng.choice([0.01, 0.3])
        values[extreme] = rng.choice(EXTREMES, int(extreme.sum()))
    return values


def _planes(name: str, picture: Tensor | YuvFrame) -> dict[str, Tensor]:
    return {name: picture} if isinstance(picture, Tensor) else {name: picture.luma, "chroma": picture.chroma}


def _address(array: NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]
