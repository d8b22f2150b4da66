"""The engine of this project on processors: a whole plain network in one pass over the rows (`repsr_kernels.cpu`)."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes.base import Batch, CheckedRuntime, Images, checked_precision, output_shape
from repsr_deploy.runtimes.foreign import found_info
from repsr_deploy.runtimes.source import Source, check_file, content_of, label_of
from repsr_kernels.cpu import network
from repsr_kernels.cpu.instruction_sets import VARIABLE
from repsr_kernels.cpu.network import Model, Network
from repsr_kernels.cpu.shared_library import library
from repsr_kernels.errors import NotPlainError

NAME = "native"
BAND_S = 0.3
"""Rows of a picture are enlarged in bands of about so long: between two of them progress is told and Ctrl-C heard."""
LEAST_ROWS = 16
"""Rows of a band for each layer, at least: both ends of it are computed twice, which is as much work as one row for
each layer in all."""


def why_unavailable() -> str | None:
    """Why the engine cannot be used here, and the way out; None where it can."""
    reason = _why_no_engine()
    if reason is None and (forced := _forced()) and forced not in (there := network.instruction_sets()):
        reason = f"{VARIABLE} is {forced!r}, and here are {', '.join(there)}"
    if reason is None:
        return None
    return f"runtime {NAME} cannot be used here ({reason}); until then take runtime onnxruntime or openvino"


@cache
def _why_no_engine() -> str | None:
    """Asked once: it may be compiled for the answer."""
    return network.why_unavailable()


def _forced() -> str | None:
    """The only instruction set that may be used; None for whichever is fastest."""
    return os.environ.get(VARIABLE) or None


def precisions(info: ModelInfo) -> tuple[Precision, ...]:
    """In which the engine computes a plain network on this processor.

    One of fp32 or fp16 is computed in fp32, or with the operands of its convolutions in bf16 and their sums in fp32.
    One of bf16 stays so wherever the processor has instructions for that, and becomes fp32 elsewhere. Of an int8 one,
    convolutions between Q/DQ are int8.
    """
    forced = _forced()
    able = network.precisions() if forced is None else network.instruction_sets().get(forced, ())

    def able_in(*wanted: Precision) -> tuple[Precision, ...]:
        return tuple(precision for precision in wanted if precision in able)

    match info.precision:
        case "fp32" | "fp16":
            return able_in("fp32", "bf16")
        case "bf16":
            return able_in("bf16", "fp32")[:1]
        case "int8":
            return able_in("int8")


def why_not(model: Source) -> str | None:
    """Why the engine cannot compute this model: its network is not plain. None of what is no model at all."""
    try:
        Model(content_of(model))
    except NotPlainError as error:
        return f"runtime {NAME} does not compute this network: {error}"
    except ModelFileError:
        return None
    return None


class NativeRuntime(CheckedRuntime):
    """A plain network in the native engine. It takes pictures of any shape, whatever shape its file was made for.

    Args:
        model: an .onnx file, or the content of one. The onnx package is not needed, but for weights in other files.
        threads: threads of one run; None for one on every core that this process may use.
        precision: to compute in; None for the first that `precisions` offers, the model's own or longer.

    Raises:
        RuntimeUnavailableError: the engine is not here, or does not compute this network, or not in this precision.
        ModelFileError: not an ONNX model, or one that is not what it says about itself.
    """

    name = NAME
    native_images = True

    def __init__(self, model: Source, threads: int | None = None, precision: Precision | None = None) -> None:
        reason = why_unavailable()
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        read = _read(model)
        self.info = _info(model, read)
        self.precision = checked_precision(NAME, self.info, precisions(self.info), precision)
        assert self.precision != "fp16"  # which `precisions` does not offer
        self._network = Network(read, self.precision)
        self._threads, self._pace = threads, _Pace(read.description.layers)

    @property
    def instruction_set(self) -> str:
        """What it computes with: `avx512bf16`."""
        return self._network.instruction_set

    def enlarge_rows(self, image_hwc: Images, out_hwc: Images, report: Callable[[int], None]) -> None:
        """See `base.RowByRow`."""
        width, scale = image_hwc.shape[1], self.info.scale
        with self._finite():
            for first, end in self._pace.bands(len(image_hwc), width):
                band_hwc = out_hwc[first * scale : end * scale]
                self._network.upscale_images(image_hwc, band_hwc, rows=(first, end), threads=self._threads)
                report(end * width)

    def _run(self, batch: Any) -> Any:
        if self.info.io == "image":
            return self._run_images(batch)
        features = self.info.io == "features"
        run, scale = (self._network.features, 1) if features else (self._network.upscale_planes, self.info.scale)
        made_nchw: Batch = np.empty(output_shape(self.info, batch), np.float32)
        with self._finite():
            for image_chw, out_chw in zip(batch, made_nchw, strict=True):
                for first, end in self._pace.bands(*image_chw.shape[1:]):
                    band_chw = out_chw[:, first * scale : end * scale]
                    run(image_chw, band_chw, rows=(first, end), threads=self._threads)
        return made_nchw

    def _run_images(self, images_nhwc: Images) -> Images:
        made_nhwc: Images = np.empty(output_shape(self.info, images_nhwc), np.uint8)
        for image_hwc, out_hwc in zip(images_nhwc, made_nhwc, strict=True):
            self.enlarge_rows(image_hwc, out_hwc, _nobody)
        return made_nhwc

    @contextmanager
    def _finite(self) -> Generator[None]:
        """The engine's word for NaN and infinity, with the network's name."""
        try:
            yield
        except ModelFileError as error:
            raise ModelFileError(
                f"{self.info.name} gives NaN or infinity for this image; its weights are broken"
            ) from error


class _Pace:
    """How many rows of a picture are done in `BAND_S`, by what the band before took. Safe to use from all threads."""

    def __init__(self, layers: int) -> None:
        self._least = LEAST_ROWS * layers
        self._pixels_per_s = 0.0

    def bands(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """(first, end) of even bands; each is asked for when the one before is done."""
        first = 0
        while first < height:
            most = max(self._least, int(self._pixels_per_s * BAND_S) // width)
            end = first + math.ceil((height - first) / math.ceil((height - first) / most))
            start_s = time.perf_counter()
            yield first, end
            self._pixels_per_s = (end - first) * width / (time.perf_counter() - start_s)
            first = end


def _nobody(pixels: int) -> None:
    """Is told of progress."""


def identity() -> dict[str, Any] | None:
    """What decides how fast the engine is, beside the machine: None where it is not here."""
    if why_unavailable() is not None:
        return None
    return {
        "sources": library().repsr_sources().decode(),
        "instruction_sets": [*network.instruction_sets()],
        "forced": _forced(),
    }


def _read(model: Source) -> Model:
    """The file as the engine reads it.

    Raises:
        RuntimeUnavailableError: a network of another kind.
        ModelFileError: no model.
    """
    label = label_of(model)
    check_file(model)
    content = content_of(model)
    try:
        return Model(content)
    except NotPlainError as error:
        raise RuntimeUnavailableError(f"runtime {NAME} does not compute {label}: {error}") from error
    except ModelFileError as error:
        raise ModelFileError(f"cannot read {label}: {error}; expected a complete .onnx file") from error


def _info(model: Source, read: Model) -> ModelInfo:
    """What the file says about itself, where its graph agrees; of a foreign one, what the graph is."""
    label, found = label_of(model), read.description
    colour: Colour = "rgb" if found.colours == 3 else "y"
    info = ModelInfo.from_props(read.properties)
    if info is None:
        if found.io != "float":
            raise ModelFileError(
                f"{label} says nothing about itself and is of io {found.io}; expected float32 images in and out, or a "
                "file that `repsr-fuse export` wrote"
            )
        width = max(found.channels, found.colours * found.scale**2)
        precision: Precision = "int8" if found.int8_layers else "fp32"
        return found_info(model, colour, scale=found.scale, halo=found.layers, width=width, precision=precision)
    pairs = (("io", info.io, found.io), ("colour", info.colour, colour), ("scale", info.scale, found.scale))
    for what, says, has in pairs:
        if says != has:
            raise ModelFileError(f"{label} has {what} {has}, and the model says {what} {says}; export it again")
    if (found.int8_layers > 0) != (info.precision == "int8"):
        raise ModelFileError(
            f"{label} has {found.int8_layers} layers of 8-bit codes, and the model says precision {info.precision}; "
            "export it again"
        )
    return info
