"""ONNX Runtime on NVIDIA GPUs: its CUDA, TensorRT and TensorRT-RTX providers.

Never another provider than the one that was asked for: ONNX Runtime takes the CPU when a provider does not load, and
only writes a line to its log. Options are those of ONNX Runtime 1.31 (CUDA 13, cuDNN 9, TensorRT 10) and of the plugin
onnxruntime-ep-nv-tensorrt-rtx 0.5. Not yet measured on a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import onnxruntime as cpu
from repsr_deploy.runtimes.foreign import warn_once
from repsr_deploy.runtimes.onnxruntime import OnnxRuntime, first_line, import_onnxruntime, not_a_model, session_options
from repsr_deploy.runtimes.source import Source, content_sha256, label_of
from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES
from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.gpu.context import shared_context
from repsr_kernels.gpu.driver import why_no_device

if TYPE_CHECKING:
    from repsr_kernels.gpu.pipeline import DeviceNetwork

PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
PROVIDER_ERRORS = ("Fail", "EPFail", "RuntimeException")
"""What ONNX Runtime raises when a provider is to blame, and not the model."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One of ONNX Runtime's providers for GPUs."""

    name: str
    """As a runtime here."""
    provider: str
    """As ONNX Runtime calls it."""
    precisions: Callable[[ModelInfo], tuple[Precision, ...]]
    options: Callable[[ModelInfo, Path], dict[str, str]]
    """Of a model, with a folder for what is built for it."""
    plugin: bool = False
    """A library that comes in a package of its own."""
    profile: bool = False
    """Builds an engine for a range of shapes."""


def _own(info: ModelInfo) -> tuple[Precision, ...]:
    return (info.precision,)


def _cuda_precisions(info: ModelInfo) -> tuple[Precision, ...]:
    """Its convolutions are float32 and float16; Q/DQ it would compute as float32, slower than without."""
    return (info.precision,) if info.precision in ("fp32", "fp16") else ()


def _cuda_options(info: ModelInfo, folder: Path) -> dict[str, str]:
    del info, folder
    # TF32 would round the operands of fp32 convolutions to 10 bits; memory beyond what is needed serves nobody
    return {"device_id": "0", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}


def _profile(prefix: str, info: ModelInfo) -> dict[str, str]:
    """The shapes that an engine is built for, in the words of a provider."""
    shapes, colours = DEFAULT_SHAPES, 3 if info.colour == "rgb" else 1
    ranges = {"min": shapes.smallest, "opt": shapes.usual, "max": shapes.largest}
    return {
        f"{prefix}_profile_{key}_shapes": f"input:{'x'.join(map(str, shape.dims(info.io, colours)))}"
        for key, shape in ranges.items()
    }


def _tensorrt_options(info: ModelInfo, folder: Path) -> dict[str, str]:
    options = {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache_dir("onnxruntime-tensorrt")),
    }
    if info.precision != "fp32":  # TensorRT 10 leaves types of the graph alone only where their flag is set
        options[f"trt_{info.precision}_enable"] = "1"
    return options | _profile("trt", info)


def _rtx_options(info: ModelInfo, folder: Path) -> dict[str, str]:
    return {"nv_runtime_cache_path": str(folder), **_profile("nv", info)}


PROVIDERS = {
    item.name: item
    for item in (
        Provider(
            name="onnxruntime-cuda",
            provider="CUDAExecutionProvider",
            precisions=_cuda_precisions,
            options=_cuda_options,
        ),
        Provider(
            name="onnxruntime-tensorrt",
            provider="TensorrtExecutionProvider",
            precisions=_own,
            options=_tensorrt_options,
            profile=True,
        ),
        Provider(
            name="onnxruntime-tensorrt-rtx",
            provider="NvTensorRTRTXExecutionProvider",
            precisions=_own,
            options=_rtx_options,
            plugin=True,
            profile=True,
        ),
    )
}
"""By the name of the runtime."""


def why_unavailable(name: str) -> str | None:
    """Why a provider cannot be used here, and the way out; None where nothing is known against it."""
    wanted = PROVIDERS[name]
    problem = cpu.why_unavailable() or _why_no_package(wanted) or why_no_device()
    if problem is None:
        return None
    package = f"pip install {PLUGIN.replace('_', '-')}" if wanted.plugin else "pip install repsr-deploy[gpu]"
    return (
        f"runtime {name} cannot be used here: {problem}; it needs an NVIDIA GPU, its driver and `{package}`, or take "
        "runtime onnxruntime or openvino, which run on the processor"
    )


def _why_no_package(wanted: Provider) -> str | None:
    import onnxruntime

    if wanted.plugin:
        return None if find_spec(PLUGIN) else f"the package {PLUGIN.replace('_', '-')} is not installed"
    if wanted.provider not in onnxruntime.get_available_providers():
        return f"the installed ONNX Runtime {onnxruntime.__version__} comes without {wanted.provider}"
    return None


class OnnxRuntimeGpu(OnnxRuntime):
    """A model in one of ONNX Runtime's providers for GPUs, its tensors bound to the GPU.

    Args:
        model: an .onnx file, or the content of one.
        name: which provider (`PROVIDERS`).
        threads: of what little stays on the processor.
        precision: the model's own, or None.

    Raises:
        RuntimeUnavailableError: no such provider or GPU here, or it cannot run all of the model in this precision.
        ModelFileError: as `OnnxRuntime`.
    """

    def __init__(
        self, model: Source, name: str, threads: int | None = None, precision: Precision | None = None
    ) -> None:
        self.name = name
        self._wanted = PROVIDERS[name]
        self._opened = model, threads
        reason = why_unavailable(name)
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        super().__init__(model, threads, precision)
        if self._wanted.profile and self.limits is None:
            self.limits = DEFAULT_SHAPES.limits

    def _precisions(self, info: ModelInfo) -> tuple[Precision, ...]:
        return self._wanted.precisions(info)

    def device_network(self) -> DeviceNetwork | None:
        """See `base.OnDevice`. It has sessions of its own, which compute on the pipeline's stream."""
        if self._wanted.plugin:
            warn_once(f"features leave the GPU to be finished: {self._wanted.provider} takes no memory of others")
            return None
        try:
            cuda = shared_context().cuda
        except ImportError as error:
            warn_once(f"features leave the GPU to be finished ({error}); `pip install pycuda` lets them stay there")
            return None
        from repsr_kernels.gpu.pipeline.onnxruntime import OrtNetwork

        info, (model, threads) = self.info, self._opened
        return OrtNetwork(
            lambda stream: self._open(model, label_of(model), threads, stream),
            cuda,
            name=info.name,
            scale=info.scale,
            skip=info.skip,
            channels=3 if info.colour == "rgb" else 1,
            range=info.range,
        )

    def _open(self, model: Source, label: str, threads: int | None, stream: int | None = None) -> Any:
        """A session, computing on the stream with this handle if one is given."""
        onnxruntime = import_onnxruntime()
        wanted = self._wanted
        info = cpu.stated_or_none(model)
        if info is None and wanted.profile:
            raise ModelFileError(
                f"{label} says nothing about itself, but an engine is built for known shapes; expected a file that "
                "`repsr-fuse export` has written"
            )
        folder = cache_dir(wanted.name, f"{content_sha256(model)[:16]}-{onnxruntime.__version__}")
        folder.mkdir(parents=True, exist_ok=True)
        options = session_options(onnxruntime, threads)
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        provider_options = wanted.options(info or ModelInfo(name=label, scale=1, halo=None), folder)
        if stream is not None:
            provider_options["user_compute_stream"] = str(stream)
        providers: list[tuple[str, dict[str, str]]] = [(wanted.provider, provider_options)]
        _load_libraries(onnxruntime)
        if wanted.plugin:
            options.add_provider_for_devices(_plugin_devices(onnxruntime), provider_options)
            providers = []
        source = str(model) if isinstance(model, Path) else model
        try:
            session = onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's errors share no base class
            if isinstance(error, RuntimeError | ValueError) or type(error).__name__ in PROVIDER_ERRORS:
                raise self._unusable(_why_not_loaded(onnxruntime, wanted) or first_line(error)) from error
            raise not_a_model(label, error) from error
        session.disable_fallback()
        if session.get_providers()[0] != wanted.provider:
            raise self._unusable(_why_not_loaded(onnxruntime, wanted) or f"it took {session.get_providers()[0]}")
        return session

    def _unusable(self, why: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(
            f"runtime {self.name} cannot run all of the model on the GPU ({why}); look at what {self._wanted.provider} "
            "needs, or take another runtime"
        )

    def _infer(self, batch: Any) -> Any:
        if self._wanted.plugin:  # its memory is not CUDA's to ONNX Runtime, which copies by itself
            return super()._infer(batch)
        return run_bound(self._session, self._input, self._output, batch)


def run_bound(session: Any, input_name: str, output_name: str, batch: Any, device: str = "cuda") -> Any:
    """One run with input and output in a device's memory: one copy there and one back, none in between."""
    from onnxruntime import OrtValue

    binding = session.io_binding()
    binding.bind_ortvalue_input(input_name, OrtValue.ortvalue_from_numpy(batch, device, 0))
    binding.bind_output(output_name, device, 0)
    session.run_with_iobinding(binding)
    return binding.copy_outputs_to_cpu()[0]


def _load_libraries(onnxruntime: Any) -> None:
    """CUDA's and cuDNN's libraries out of NVIDIA's packages, where a provider then finds them."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    onnxruntime.set_default_logger_severity(cpu.FATAL)


@cache
def _plugin_devices(onnxruntime: Any) -> list[Any]:
    """The GPU that the plugin finds, once its library is registered.

    Raises:
        RuntimeUnavailableError: the library does not load, or finds no GPU.
    """
    import onnxruntime_ep_nv_tensorrt_rtx as plugin  # pyright: ignore[reportMissingImports] # optional, and large

    name = plugin.get_ep_name()
    try:
        onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise RuntimeUnavailableError(
            f"runtime onnxruntime-tensorrt-rtx cannot be used here ({first_line(error)}); it needs NVIDIA's driver"
        ) from error
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise RuntimeUnavailableError(
            "runtime onnxruntime-tensorrt-rtx finds no GPU that it supports; it needs one of Ampere or later"
        )
    return devices[:1]


def _why_not_loaded(onnxruntime: Any, wanted: Provider) -> str | None:
    """What the loader of libraries says of a provider: ONNX Runtime itself does not tell."""
    if wanted.plugin or sys.platform != "linux":
        return None
    folder = Path(onnxruntime.__file__).parent / "capi"
    kind = "cuda" if wanted.provider.startswith("CUDA") else "tensorrt"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{kind}.so"))
    except OSError as error:
        return str(error)
    return None
