"""Engines as a runtime, executed with PyCUDA.

Not yet measured on a GPU.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes.base import CheckedRuntime, Limits, checked_precision
from repsr_deploy.runtimes.source import Source
from repsr_deploy.runtimes.tensorrt.api import Api, load
from repsr_deploy.runtimes.tensorrt.build import plan_job
from repsr_deploy.runtimes.tensorrt.cache import cached_job
from repsr_deploy.runtimes.tensorrt.device import EngineNetwork
from repsr_deploy.runtimes.tensorrt.engine_file import check_fits, read_record
from repsr_deploy.runtimes.tensorrt.execution import Loaded
from repsr_deploy.runtimes.tensorrt.lane import Lane
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.precision import check_engine_types, engine_types
from repsr_deploy.runtimes.tensorrt.progress import Progress
from repsr_deploy.runtimes.tensorrt.record import SUFFIXES, EngineRecord
from repsr_deploy.runtimes.tensorrt.shapes import Shape, Shapes
from repsr_kernels.gpu.context import load_pycuda, shared_context
from repsr_kernels.gpu.driver import find_device, why_no_device


def why_unavailable(flavour: Flavour) -> str | None:
    """Why engines cannot be run here, and the way out; None where they can."""
    try:
        load(flavour)
    except RuntimeUnavailableError as error:
        return str(error)
    if reason := why_no_device():
        return (
            f"runtime {flavour} cannot be used here: {reason}; it needs an NVIDIA GPU and its driver, "
            "take runtime openvino or onnxruntime on this machine"
        )
    try:
        load_pycuda()
    except ImportError as error:
        return (
            f"runtime {flavour} cannot be used here ({error}); install PyCUDA with `pip install "
            f"repsr-deploy[{flavour}]`, which compiles it and needs CUDA's headers (CUDA_ROOT)"
        )
    return None


def open_tensorrt(
    model: Source,
    flavour: Flavour,
    *,
    threads: int | None = None,
    precision: Precision | None = None,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> EngineRuntime:
    """Open an engine, or a model, whose engine is then found in the user's cache folder or built into it.

    Args:
        model: a file ending in `.engine` or `.plan` with its record beside it; or a model file, or the content of one.
        threads: without effect: the GPU does the work.
        precision: that of the file, whose types TensorRT takes; None for whatever that is.
        options: how to build; None for an engine that is given, which is built already.
        progress: see `build.build_engine`.

    Raises:
        RuntimeUnavailableError: TensorRT, PyCUDA, driver or GPU is missing, or another precision than the file's.
        UsageError: options that have no effect.
        ModelFileError: neither engine nor model, an engine of another version or GPU, one that is damaged.
        MemoryError: no GPU memory.
        RepsrError: the build failed.
    """
    del threads
    reason = why_unavailable(flavour)
    if reason is not None:
        raise RuntimeUnavailableError(reason)
    api = load(flavour)
    if isinstance(model, Path) and model.suffix in SUFFIXES:
        if options is not None:
            raise UsageError(f"{model} is built already; build options go with a model, such as an .onnx file")
        path, record = model, read_record(model)
        checked_precision(flavour, record.info, (record.info.precision,), precision)
        check_fits(path, record.recipe, flavour, api.version, find_device())
    else:
        job = plan_job(model, flavour, options or BuildOptions())
        checked_precision(flavour, job.model.info, (job.model.info.precision,), precision)
        built = cached_job(job, progress)
        path, record = built.path, built.record
    return EngineRuntime(path, record, api)


class EngineRuntime(CheckedRuntime):
    """A built engine. Every call takes a lane of its own (`lane.Lane`), so that calls from several threads overlap.

    Args:
        path: the engine file, which is whole and fits this TensorRT and GPU.

    Raises:
        ModelFileError: TensorRT does not load it, or its tensors have other types than its record says.
        MemoryError: no GPU memory.
    """

    def __init__(self, path: Path, record: EngineRecord, api: Api) -> None:
        self.name = api.flavour
        self.info: ModelInfo = record.info
        self.precision = record.info.precision
        self._session = _Session(path, record, api)
        self.limits: Limits | None = self._session.limits
        weakref.finalize(self, self._session.close).atexit = False  # the context does that in its own time

    def device_network(self) -> EngineNetwork:
        """See `base.OnDevice`."""
        return self._session.network()

    def _run(self, batch: Any) -> Any:
        with self._session.lane() as lane:
            return widened(lane.run(batch))


class _Session:
    """The engine on the GPU, and lanes that are free."""

    def __init__(self, path: Path, record: EngineRecord, api: Api) -> None:
        self._gpu = shared_context()
        self._cuda = self._gpu.cuda
        self._api, self._info = api, record.info
        self._loaded: Loaded | None = None
        self._free: list[Lane] = []
        self._lock = threading.Lock()
        self._gpu.add(self)
        try:
            self._load(path, record)
        except BaseException:
            self.close()
            raise

    def _load(self, path: Path, record: EngineRecord) -> None:
        api = self._api
        with self._gpu.current():
            runtime = api.trt.Runtime(api.logger)
            # an engine for later versions brings code of its own
            runtime.engine_host_code_allowed = record.recipe.options["version_compatible"]
            engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise ModelFileError(f"{api.program} cannot load {path}: {api.errors()}; build it again")
        names = _tensor_names(api, engine)
        self._loaded = Loaded(api, runtime, engine, self._info, *names)
        profile = [tuple(dims) for dims in engine.get_tensor_profile_shape(names[0], 0)]
        smallest, usual, largest = (Shape.of(dims, self._info.io) for dims in profile)
        self.limits = Shapes(smallest=smallest, usual=usual, largest=largest).limits
        dtype = np.uint8 if self._info.io == "image" else np.float32
        self._check_types(path, np.empty(profile[1], dtype))

    def _check_types(self, path: Path, usual: NDArray[Any]) -> None:
        """Of tensors, for a batch of the usual shape: without one TensorRT does not say them."""
        with self.lane() as lane:
            information = json.loads(lane.inspect(usual))
        check_engine_types(str(path), self._info.precision, engine_types(information))

    @property
    def _engine(self) -> Loaded:
        assert self._loaded is not None  # closed only when nobody holds the runtime any more
        return self._loaded

    def network(self) -> EngineNetwork:
        """The engine from and to the GPU's memory."""
        with self._gpu.current():
            return EngineNetwork(self._cuda, self._engine)

    @contextmanager
    def lane(self) -> Generator[Lane]:
        """A lane for one run; one that failed is not used again.

        Raises:
            MemoryError: no GPU memory.
            RepsrError: the driver fails.
        """
        with self._gpu.current():
            with self._lock:
                lane = self._free.pop() if self._free else None
            try:
                lane = lane or Lane(self._cuda, self._engine)
                yield lane
            except BaseException as error:
                if lane is not None:
                    with suppress(RepsrError, self._cuda.Error):  # a broken GPU cannot free either, and says less
                        lane.close()
                if isinstance(error, self._cuda.MemoryError):
                    raise MemoryError(f"no GPU memory for an engine of {self._info.name}: {error}") from error
                if isinstance(error, self._cuda.Error):
                    raise RepsrError(f"{self._api.program} failed on the GPU: {error}") from error
                raise
            with self._lock:
                self._free.append(lane)

    def close(self) -> None:
        """Free everything; no run is under way, because nobody holds the runtime any more."""
        if self._gpu.primary.is_lost:
            return
        with self._gpu.current():
            while self._free:
                self._free.pop().close()
            self._loaded = None


def _tensor_names(api: Api, engine: Any) -> tuple[str, str]:
    """Of input and output."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    names.sort(key=lambda name: engine.get_tensor_mode(name) != api.trt.TensorIOMode.INPUT)
    return names[0], names[1]


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """What an engine gives, exactly, in a type that models have: float32 for fp16 and for the bits of bf16."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array
