"""OpenVINO on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.imaging.memory import bytes_per_pixel
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes.base import CheckedRuntime, Images, checked_precision, output_shape
from repsr_deploy.runtimes.foreign import derive_info
from repsr_deploy.runtimes.openvino_model import (
    check_weights,
    first_line,
    model_ports,
    on_images,
    read_model,
    read_stated_info,
)
from repsr_deploy.runtimes.ports import check_ports
from repsr_deploy.runtimes.source import Source, check_file, label_of

DEVICE = "CPU"
PREPARED_LAYERS = 128
"""Layers of one shape each whose kernels are kept. OpenVINO's own limit is 5,000: a folder of pictures of many sizes
then takes 0.5 to 1.5 MB more for every new shape, without end. A tile's shape stays the same within a picture."""
SHORTER: tuple[Precision, ...] = ("fp16", "bf16")
AS_IT_IS, ON_IMAGES = "as it is", "on images"
TRIED = 8
"""Sides of the image that a compiled model is tried with."""
MARKS = np.random.default_rng(0).integers(0, 256, 64, np.uint8)
"""Bytes that no picture has at 64 places by chance: where they are left, nothing was written."""
# bf16 beside int8 is no faster (photo-x2 and x4), and takes the picture from 66 to 49 dB off that of ONNX Runtime
_HINTS: dict[Precision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "out of memory", "failed to allocate", "could not allocate")


def why_unavailable() -> str | None:
    """Why OpenVINO cannot be used here, and the way out; None where it can."""
    try:
        import_module("openvino")
    except ImportError as error:
        return f"runtime openvino cannot be used here ({error}); install it with `pip install repsr-deploy[openvino]`"
    return None


def precisions(info: ModelInfo) -> tuple[Precision, ...]:
    """In which OpenVINO computes a model on this processor.

    One of fp32 or fp16 is computed in fp32, or with the operands of its convolutions in bf16 (or fp16), their sums and
    everything else in fp32. One of bf16 stays so wherever the processor knows that type, tensors between the layers
    included, and becomes fp32 elsewhere. Of an int8 one, convolutions between Q/DQ are int8, the others fp32.
    """
    types = _processor_types()
    match info.precision:
        case "fp32" | "fp16":
            return ("fp32", *(precision for precision in SHORTER if precision in types))
        case "bf16":
            return ("bf16",) if "bf16" in types else ("fp32",)
        case "int8":
            return ("int8",)


class OpenVinoRuntime(CheckedRuntime):
    """A model in OpenVINO's CPU plugin.

    OpenVINO makes 0 of NaN, so broken weights are looked for when the model is opened.

    Args:
        model: an .onnx file, the content of one, or an .xml file with its .bin beside it.
        threads: threads of one run; None for one per core.
        precision: to compute in; None for the first that `precisions` offers, the model's own or longer.

    Raises:
        RuntimeUnavailableError: openvino is not installed, or does not compute this model in this precision.
        ModelFileError: not a model, or not one from images to such images, or one with NaN among its weights.
    """

    name = "openvino"
    # a tile of 332 x 332 pixels takes 0.83 (x2) and 0.66 (x4) times as long as with conversions around it in fp32, 0.93
    # and 0.72 in bf16 (M4C16, two threads of two cores, side by side); the whole Upscaler, which converts beside the
    # next tile, 0.95 to 1.0 times where a core is idle, 0.6 to 0.95 where none is
    native_images = True

    def __init__(self, model: Source, threads: int | None = None, precision: Precision | None = None) -> None:
        reason = why_unavailable()
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        label = label_of(model)
        check_file(model, expected="an .onnx or .xml file")
        self._model = read_model(model, label)
        check_weights(self._model, label)
        info = read_stated_info(self._model)
        colour, self.limits = check_ports(*model_ports(self._model), info, label)
        if info is None and isinstance(model, Path) and model.suffix == ".xml":
            raise ModelFileError(
                f"{label} says nothing about itself; expected an .xml file as `repsr-fuse export --format openvino` "
                "writes it, or the .onnx file that it was made of"
            )
        self._threads, self._lock = threads, threading.Lock()
        self._programs: dict[str, _Program] = {}
        # a foreign model runs before anything is known of it, and is one of fp32
        known = info or ModelInfo(name=label, scale=1, halo=None, colour=colour)
        self.precision = checked_precision(self.name, known, precisions(known), precision)
        if info is None:
            self._programs[AS_IT_IS] = _Program(self._model, self._properties())
            info = derive_info(model, colour, self._programs[AS_IT_IS].run)
        self.info = info

    def executed_graph(self) -> Any:
        """OpenVINO's own account of what it executes: an `openvino.Model` of layers with their types."""
        return self._program(AS_IT_IS).executed_graph()

    def _run(self, batch: Any) -> Any:
        return self._run_program(AS_IT_IS, batch)

    def _run_images(self, images_nhwc: Images) -> Images:
        return self._run_program(ON_IMAGES, images_nhwc)

    def _run_program(self, kind: str, batch: Any) -> Any:
        program = self._program(kind)
        output = np.empty(output_shape(self.info, batch), batch.dtype)
        pixels = batch.size // self._colours
        program.make_room(bytes_per_pixel(self.info) * pixels)
        try:
            return program.run(batch, output)
        except MemoryError:
            with self._lock:  # this program gives errors from now on
                if self._programs.get(kind) is program:
                    del self._programs[kind]
            raise

    def _program(self, kind: str) -> _Program:
        """The model as it is, or between 8-bit images: compiled and tried when first asked for, in 30 ms or more.

        Raises:
            ModelFileError: OpenVINO refuses it, or its output has another shape than it says.
        """
        with self._lock:
            if kind not in self._programs:
                program = _Program(on_images(self._model) if kind == ON_IMAGES else self._model, self._properties())
                count, height, width = (
                    (1, TRIED, TRIED) if self.limits is None else self.limits.nearest(1, TRIED, TRIED)
                )
                if kind == ON_IMAGES or self.info.io == "image":
                    self._checked(program.run, np.zeros((count, height, width, self._colours), np.uint8))
                else:
                    self._checked(program.run, np.zeros((count, self._colours, height, width), np.float32))
                self._programs[kind] = program
            return self._programs[kind]

    @property
    def _colours(self) -> int:
        return 3 if self.info.colour == "rgb" else 1

    def _properties(self) -> dict[str, str]:
        """What OpenVINO is asked for."""
        properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "CPU_RUNTIME_CACHE_CAPACITY": str(PREPARED_LAYERS),
            # pinned, processes of one thread each all take the first core: two of them took 42 ms a tile, unpinned 21
            "ENABLE_CPU_PINNING": "NO",
        }
        return properties if self._threads is None else properties | {"INFERENCE_NUM_THREADS": str(self._threads)}


class _Program:
    """A compiled model with one request for every thread that calls it at the same time."""

    def __init__(self, model: Any, properties: dict[str, str]) -> None:
        try:
            self._compiled = _core().compile_model(model, DEVICE, properties)
        except RuntimeError as error:
            raise ModelFileError(
                f"OpenVINO cannot compile the model ({first_line(error)}); take another runtime, such as onnxruntime"
            ) from error
        self._idle: list[Any] = []
        self._had_bytes = 0
        self._broken = False

    def executed_graph(self) -> Any:
        return self._compiled.get_runtime_model()

    def make_room(self, needed_bytes: int) -> None:
        """Make sure of memory that no run has been given yet; `bytes_per_pixel` is an upper estimate.

        With a single thread, OpenVINO 2026.4 loses the error when an allocation fails inside a run: it returns as if
        all had gone well, with nothing written, and what it leaves undone may end the process later.

        Raises:
            MemoryError: there is not as much.
        """
        if needed_bytes > self._had_bytes:
            np.empty(needed_bytes, np.uint8)  # given back at once, and never touched
            self._had_bytes = needed_bytes

    def run(self, batch: Any, output: Any = None) -> Any:
        """What the model makes of a batch, written into `output` if that is given; it must have the right shape.

        Raises:
            MemoryError: there was not enough; this program must not be used again.
            ModelFileError: OpenVINO refuses.
        """
        try:
            with self._request() as request:
                return _infer(request, batch, output)
        except (RuntimeError, MemoryError) as error:
            out_of_memory = any(words in str(error).lower() for words in _OUT_OF_MEMORY)
            if out_of_memory or self._broken or isinstance(error, MemoryError):
                self._broken = True
                raise MemoryError(f"OpenVINO has no memory for a batch of shape {batch.shape}") from error
            raise ModelFileError(f"OpenVINO cannot run the model on {batch.shape}: {first_line(error)}") from error

    @contextmanager
    def _request(self) -> Generator[Any]:
        """A request that no other thread uses meanwhile; dropped when it fails."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        yield request
        self._idle.append(request)


def _infer(request: Any, batch: Any, output: Any) -> Any:
    """One run, into `output` if that is given."""
    from openvino import Tensor

    given = batch if batch.flags.writeable else batch.copy()  # by a name, as the tensor does not keep the copy alive
    request.set_input_tensor(Tensor(given, shared_memory=True))
    if output is None:
        request.infer(share_outputs=True)
        return request.get_output_tensor().data.copy()
    marked = output.reshape(-1).view(np.uint8)
    marked = marked[:: max(1, marked.size // MARKS.size)][: MARKS.size]
    marked[...] = MARKS[: marked.size]
    request.set_output_tensor(Tensor(output, shared_memory=True))
    request.infer(share_outputs=True)
    if np.array_equal(marked, MARKS[: marked.size]):
        raise MemoryError("nothing was written")
    return output


@cache
def _core() -> Any:
    """One for the process: plugins load once."""
    from openvino import Core

    return Core()


@cache
def _processor_types() -> frozenset[str]:
    """Types that the processor multiplies in its own instructions."""
    return frozenset(name.lower() for name in _core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))
