"""Images of kernels, loaded into a context once.

Not yet measured on a GPU.
"""

from __future__ import annotations

import threading
from ctypes import byref, c_char_p, c_void_p

from repsr_kernels.compile import Image, compiled
from repsr_kernels.errors import RuntimeUnavailableError
from repsr_kernels.gpu.driver import CudaError
from repsr_kernels.gpu.primary import PrimaryContext
from repsr_kernels.variants import Variant

_WRONG_IMAGE = {
    200: "cannot be read by the driver",  # CUDA_ERROR_INVALID_IMAGE
    209: "has no machine code for this GPU in it",  # CUDA_ERROR_NO_BINARY_FOR_GPU
    218: "is PTX that the driver's compiler refuses",  # CUDA_ERROR_INVALID_PTX
    221: "is PTX, for which the driver's compiler is missing (libnvidia-ptxjitcompiler)",
    222: "is PTX newer than the driver",  # CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    223: "is PTX, which the environment forbids to compile (CUDA_DISABLE_PTX_JIT)",
}

_functions: dict[tuple[int, Variant], c_void_p] = {}
_lock = threading.Lock()


def function_of(context: PrimaryContext, variant: Variant) -> c_void_p:
    """The kernel as the driver launches it, compiled and loaded first where that has not been done yet.

    The context is current, and nothing is being recorded in this thread. Modules stay until the process ends.

    Raises:
        RuntimeUnavailableError: it cannot be compiled, or this driver and GPU cannot load what the compiler makes.
        MemoryError: the GPU has no memory for it.
        CudaError: the driver fails.
    """
    key = (context.ordinal, variant)
    with _lock:
        if key not in _functions:
            _functions[key] = _load(context, variant)
        return _functions[key]


def _load(context: PrimaryContext, variant: Variant) -> c_void_p:
    image = compiled(variant, context.device.architecture)
    newest = context.driver.version()
    if image.toolkit[0] > newest[0]:  # within a major version newer code runs on older drivers
        raise _mismatch(context, variant, image, "is newer than the driver")
    module, function = c_void_p(), c_void_p()
    try:
        context.driver.call("cuModuleLoadData", byref(module), c_char_p(image.data))
    except CudaError as error:
        if error.status in _WRONG_IMAGE:
            raise _mismatch(context, variant, image, _WRONG_IMAGE[error.status]) from error
        raise
    context.driver.call("cuModuleGetFunction", byref(function), module, c_char_p(variant.name.encode()))
    return function


def _mismatch(context: PrimaryContext, variant: Variant, image: Image, why: str) -> RuntimeUnavailableError:
    device, (major, minor) = context.device, context.driver.version()
    return RuntimeUnavailableError(
        f"{variant.kernel} for {image.target}, made by {image.compiler}, {why}: driver for CUDA {major}.{minor}, "
        f"{device.name} of compute capability {device.compute_capability}; update the driver, or have a CUDA {major} "
        f"toolkit (CUDA_HOME) or nvidia-cuda-nvrtc of that version compile"
    )
