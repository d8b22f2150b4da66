"""Folded networks on processors, whole: pixels in, pixels out, in one pass over the rows.

```python
network = Network(Model(Path("photo-x2.onnx").read_bytes()), "bf16")
out_hwc = np.empty((2 * height, 2 * width, 3), np.uint8)
network.upscale_images(image_hwc, out_hwc)
```
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack, get_args

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.cpu import shared_library
from repsr_kernels.cpu.instruction_sets import (
    Precision,
    checked_count,
    chosen,
    instruction_sets,
    number_of,
    peak_macs_per_s,
    precisions,
)
from repsr_kernels.cpu.shared_library import call, library, why_unavailable
from repsr_kernels.cpu.views import View, view_of_image, view_of_planes
from repsr_kernels.errors import UsageError

__all__ = [
    "Description", "Model", "Network", "Precision", "Work", "instruction_sets", "peak_macs_per_s", "precisions",
    "why_unavailable",
]  # fmt: skip

Skip = Literal["none", "nearest", "bilinear"]
Io = Literal["float", "image", "features"]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a model is."""

    colours: int
    """3 (RGB) or 1 (Y)."""
    scale: int
    """1 to 4."""
    layers: int
    """Convolutions, head and tail among them: the receptive field reaches so many pixels to each side."""
    channels: int
    """Of the widest feature map between them."""
    int8_layers: int
    """Convolutions of codes of 8 bits; 0 but for models that were quantized."""
    skip: Skip
    """What is added to the network's sum: the picture, enlarged in this way."""
    io: Io
    """What the model file itself takes and gives."""
    clamps: bool
    """Whether its result is clamped to 0..1."""
    macs_per_pixel: int
    """Multiply-adds for each pixel of the picture that comes in."""


class Work(TypedDict, total=False):
    """How much of a picture to enlarge, and how. None of it but `rows` changes a bit of the result."""

    rows: tuple[int, int] | None
    """First row of the picture to enlarge and the one behind the last; None for all. Rows above and below them are
    seen, as far as the network reaches."""
    threads: int | None
    """At most so many; None for one on every core that this process may use."""
    strip_rows: int
    """Rows of a strip, the unit of work of a thread; 0 for what is best here."""
    block_columns: int
    """Columns of a block within a strip; 0 for what is best here."""


class Model:
    """A plain network as a file says it; never changes, and may be used by several threads.

    Args:
        content: of an ONNX file.

    Raises:
        ModelFileError: truncated, damaged, or with numbers in it that no network has.
        NotPlainError: a model of another kind; the message names the node.
        MemoryError: it does not fit into memory.
        RuntimeUnavailableError: there is no engine here (`why_unavailable`).
    """

    handle: c_void_p
    """Of the model in the library; valid as long as this object."""
    description: Description
    properties: dict[str, str]
    """`metadata_props` of the file."""

    def __init__(self, content: bytes) -> None:
        engine, self.handle = library(), c_void_p()
        call(engine.repsr_model_read, content, len(content), byref(self.handle))
        _freed_with(self, engine.repsr_model_free, self.handle)
        self.description = _description_of(self.handle)
        self.properties = {}
        for index in itertools.count():
            key = engine.repsr_model_property_key(self.handle, index)
            if key is None:
                break
            value = engine.repsr_model_property_value(self.handle, index)
            self.properties[key.decode(errors="replace")] = value.decode(errors="replace")


class Network:
    """A model made ready for a precision and an instruction set; never changes, and may be used by several threads.

    Results are the same to the bit for any threads, strips, blocks and rows; in fp32 on every instruction set.

    Args:
        model: not needed any more afterwards.
        precision: of activations and weights between the first and the last layer. Sums are fp32, those of codes
            int32. int8 is for models that were quantized.
        instruction_set: one of `instruction_sets()`; None for the one that the environment variable
            `REPSR_INSTRUCTION_SET` names, or else the fastest one that computes in this precision.

    Raises:
        RuntimeUnavailableError: the instruction set is not here; or it, or the model, cannot be computed in this
            precision.
        UsageError: no such precision.
        MemoryError: it does not fit into memory.
    """

    description: Description
    precision: Precision
    instruction_set: str

    def __init__(self, model: Model, precision: Precision = "fp32", *, instruction_set: str | None = None) -> None:
        self.description, self.precision = model.description, precision
        number, name = number_of(precision), chosen(instruction_set, precision)
        engine, self._handle = library(), c_void_p()
        call(engine.repsr_network_make, model.handle, number, name and name.encode(), byref(self._handle))
        _freed_with(self, engine.repsr_network_free, self._handle)
        self.instruction_set = engine.repsr_network_instruction_set(self._handle).decode()

    def upscale_images(self, image_hwc: NDArray[np.uint8], out_hwc: NDArray[np.uint8], **work: Unpack[Work]) -> None:
        """Enlarge a picture of bytes: the network's sum in units of 1/255, rounded half to even, clamped to 0..255.

        Args:
            image_hwc: H x W x C of uint8, all of the picture. Pixels lie one behind another; rows may be any number
                of bytes apart.
            out_hwc: s R x s W x C of uint8, laid out likewise, R the number of rows that are enlarged. It must not
                overlap the image.
            work: `Work`.

        Raises:
            UsageError: a shape, a type, a layout or a number that is not as said here; an output that is read-only or
                overlaps the image.
            MemoryError: memory has run out; the output may be half written.
            ModelFileError: the network gives NaN or infinity; the output may be half written.
        """
        image, out = view_of_image("image", image_hwc), view_of_image("out", out_hwc, written=True)
        self._run(image, shared_library.BYTES, out, shared_library.BYTES, work)

    def upscale_planes(
        self, image_chw: NDArray[np.float32], out_chw: NDArray[np.float32], **work: Unpack[Work]
    ) -> None:
        """Enlarge a picture of floats, 0..1; the result is clamped to 0..1 where the model clamps.

        Args:
            image_chw: C x H x W of float32, all of the picture. Pixels of a row lie one behind another; rows and
                planes may be any number of floats apart.
            out_chw: C x s R x s W of float32, laid out likewise, R the number of rows that are enlarged. It must not
                overlap the image.
            work: `Work`.

        Raises:
            UsageError, MemoryError, ModelFileError: as `upscale_images`.
        """
        image, out = view_of_planes("image", image_chw), view_of_planes("out", out_chw, written=True)
        self._run(image, shared_library.FLOATS, out, shared_library.FLOATS, work)

    def features(self, image_chw: NDArray[np.float32], out_chw: NDArray[np.float32], **work: Unpack[Work]) -> None:
        """What the last convolution gives of a picture of floats, 0..1: before skip, PixelShuffle and clamp.

        Args:
            image_chw: as of `upscale_planes`.
            out_chw: C s s x R x W of float32, laid out likewise, R the number of rows; channel c s s + dy s + dx is of
                colour c of the pixel at (dy, dx). It must not overlap the image.
            work: `Work`.

        Raises:
            UsageError, MemoryError, ModelFileError: as `upscale_images`.
        """
        image, out = view_of_planes("image", image_chw), view_of_planes("out", out_chw, written=True)
        self._run(image, shared_library.FLOATS, out, shared_library.FEATURES, work)

    def _run(self, image: View, image_samples: int, out: View, out_samples: int, work: Work) -> None:
        first_row, end_row = work.get("rows") or (0, image.height)
        if not 0 <= first_row < end_row <= image.height:
            raise UsageError(f"rows are {first_row} to {end_row}; expected one or more of 0 to {image.height}")
        colours, scale = self.description.colours, self.description.scale
        if out_samples == shared_library.FEATURES:
            channels, scale = colours * scale**2, 1
        else:
            channels = colours
        image.check_shape("image", colours, image.height, image.width)
        out.check_shape("out", channels, scale * (end_row - first_row), scale * image.width)
        threads = work.get("threads")
        job = shared_library.Job(
            height=image.height, width=image.width, first_row=first_row, end_row=end_row,
            image=image.address, image_bytes=image.size, image_pitch=image.pitch, image_plane=image.plane,
            out=out.address, out_bytes=out.size, out_pitch=out.pitch, out_plane=out.plane,
            image_samples=image_samples, out_samples=out_samples,
            threads=len(os.sched_getaffinity(0)) if threads is None else checked_count("threads", threads, least=1),
            strip_rows=checked_count("strip_rows", work.get("strip_rows", 0), least=0),
            block_columns=checked_count("block_columns", work.get("block_columns", 0), least=0),
        )  # fmt: skip
        call(library().repsr_run, self._handle, byref(job))


def _description_of(model: c_void_p) -> Description:
    told = shared_library.Description()
    library().repsr_model_describe(model, byref(told))
    return Description(
        colours=told.colours,
        scale=told.scale,
        layers=told.layers,
        channels=told.channels,
        int8_layers=told.int8_layers,
        skip=get_args(Skip)[told.skip],
        io=get_args(Io)[told.io],
        clamps=bool(told.clamps),
        macs_per_pixel=told.macs_per_pixel,
    )


def _freed_with(owner: object, free: Callable[[c_void_p], None], handle: c_void_p) -> None:
    """Give the library's memory back when its owner goes; not at exit, when threads may still use it."""
    weakref.finalize(owner, free, handle).atexit = False
