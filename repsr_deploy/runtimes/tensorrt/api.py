"""TensorRT's Python module, and every difference between its versions: 10, 11, and TensorRT for RTX.

Nothing else in this package asks which version it has.
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from functools import cache
from typing import Any

from repsr_deploy.errors import RuntimeUnavailableError
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour

log = logging.getLogger(__name__)

MODULES: dict[Flavour, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Where each flavour is imported from: its package, or the bare bindings beside libraries from elsewhere."""
_MESSAGES_KEPT = 20


class Api:
    """One flavour of TensorRT, loaded."""

    def __init__(self, flavour: Flavour, module: Any) -> None:
        self.flavour: Flavour = flavour
        self.trt = module
        self.version: str = module.__version__
        self._errors: deque[str] = deque(maxlen=_MESSAGES_KEPT)
        self.logger = _make_logger(module, self._errors)

    @property
    def program(self) -> str:
        """Name and version, for messages."""
        return f"{self.flavour} {self.version}"

    def errors(self) -> str:
        """What TensorRT has complained about since this was last asked, in one line."""
        found = dict.fromkeys(self._errors)
        self._errors.clear()
        return "; ".join(found) or "it gives no reason"

    def create_builder(self) -> Any:
        """A builder.

        Raises:
            RuntimeUnavailableError: TensorRT needs a GPU to build, and there is none that it can use.
        """
        self.errors()
        try:
            return self.trt.Builder(self.logger)
        except TypeError as error:  # how the bindings say that the library gave them nothing
            raise RuntimeUnavailableError(
                f"{self.program} cannot build here: {self.errors()}; it needs an NVIDIA GPU and driver, "
                "while tensorrt-rtx builds without one"
            ) from error

    def create_network(self, builder: Any) -> Any:
        """An empty network whose types are those of the graph; TensorRT 11 and RTX know no other, 10 must be told."""
        flag = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def apply(self, config: Any, options: BuildOptions) -> None:
        """Set what was chosen in a builder's configuration."""
        trt = self.trt
        config.builder_optimization_level = options.level
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that a built engine states its types
        if options.workspace_bytes is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        if not options.tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware != "this":
            levels = trt.HardwareCompatibilityLevel
            wanted = {"same-compute-capability": "SAME_COMPUTE_CAPABILITY", "ampere+": "AMPERE_PLUS"}
            config.hardware_compatibility_level = getattr(levels, wanted[options.hardware])
        if options.compute_capabilities:
            config.num_compute_capabilities = len(options.compute_capabilities)
            for index, capability in enumerate(options.compute_capabilities):
                name = "CURRENT" if capability == "current" else f"SM{capability.replace('.', '')}"
                config.set_compute_capability(getattr(trt.ComputeCapability, name), index)

    @property
    def times_kernels(self) -> bool:
        """Whether building measures kernels, so that a timing cache helps: TensorRT for RTX chooses where it runs."""
        return self.flavour == "tensorrt"

    @property
    def records_graphs(self) -> bool:
        """Whether an execution context records CUDA graphs by itself, for every shape: TensorRT for RTX does."""
        return hasattr(self.trt, "CudaGraphStrategy")

    def create_context(self, engine: Any) -> Any:
        """An execution context; without memory of its own unless it records CUDA graphs by itself. None on failure."""
        if not self.records_graphs:
            return engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        runtime_config = engine.create_runtime_config()
        runtime_config.cuda_graph_strategy = self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        return engine.create_execution_context(runtime_config)


@cache
def load(flavour: Flavour) -> Api:
    """The flavour's module.

    Raises:
        RuntimeUnavailableError: it is not installed, or its libraries are not found: says both causes and the way out.
    """
    causes: list[str] = []
    for name in MODULES[flavour]:
        try:
            return Api(flavour, importlib.import_module(name))
        except (ImportError, OSError) as error:
            causes.append(str(error))
    raise RuntimeUnavailableError(
        f"runtime {flavour} cannot be used here ({'; '.join(dict.fromkeys(causes))}); "
        f"install it with `pip install repsr-deploy[{flavour}]`"
    )


def _make_logger(trt: Any, errors: deque[str]) -> Any:
    """A logger that passes messages on to `logging` and keeps the errors, which become part of an exception."""
    severities = trt.ILogger.Severity
    serious = (severities.INTERNAL_ERROR, severities.ERROR)

    class Logger(trt.ILogger):
        """TensorRT calls it from its own threads, too."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in serious:
                errors.append(" ".join(msg.split()))
            log.log(logging.INFO if severity == severities.WARNING else logging.DEBUG, "%s", msg)

    return Logger()
