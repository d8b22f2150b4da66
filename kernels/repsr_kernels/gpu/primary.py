"""A GPU's primary context: the one that PyTorch, CuPy, TensorRT and PyCUDA can share, and what has happened to it.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from ctypes import byref, c_int, c_uint, c_void_p
from functools import cache

from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.gpu.driver import CudaError, Device, Driver, load_driver

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: asking it about failures waits for nothing and disturbs no recording
_FATAL = frozenset((214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 911))
"""CUresults after which `cuda.h` demands a new process: uncorrectable memory errors (214, 220, 226), illegal and
misaligned addresses, illegal instructions, failed assertions, time limits (700 to 719), a failed other device (911)."""


class PrimaryContext:
    """It is kept until the process ends: given back earlier, it would be gone for others, too.

    Args:
        ordinal: of the GPU, as `CUDA_VISIBLE_DEVICES` orders them.

    Raises:
        CudaError: the driver cannot make it.
    """

    def __init__(self, ordinal: int) -> None:
        self.driver: Driver = load_driver()
        self.ordinal = ordinal
        self.device: Device = self.driver.device(ordinal)
        self.handle = c_void_p()
        self._failure: str | None = None
        self._probe = c_void_p()
        self.driver.call("cuDevicePrimaryCtxRetain", byref(self.handle), self.driver.handle(ordinal))
        with self._pushed():
            self.driver.call("cuStreamCreate", byref(self._probe), c_uint(_NON_BLOCKING))

    @property
    def is_lost(self) -> bool:
        """Whether the GPU failed so that this process cannot use it any more, and nothing of it can be freed."""
        return self._failure is not None

    def check(self) -> None:
        """Raise what made the GPU unusable for this process, if something did.

        Raises:
            CudaError: says what it was, the first time.
        """
        if self._failure is not None:
            raise CudaError(self._failure)

    @contextmanager
    def entered(self) -> Generator[None]:
        """Current in this thread, as it may be already, and `guarded`.

        Raises:
            UsageError: another context of this GPU is current, whose memory and streams are not this one's.
            CudaError: the GPU failed, now or before.
        """
        current = c_void_p()
        self.driver.call("cuCtxGetCurrent", byref(current))
        if current.value == self.handle.value:
            with self.guarded():
                yield
            return
        if current.value is not None:
            self._check_elsewhere()
        with self._pushed(), self.guarded():
            yield

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Look after an error whether the GPU can still be used, whoever caused it; the context is current.

        Raises:
            CudaError: it cannot, now or since earlier.
        """
        self.check()
        try:
            yield
        except Exception as error:
            self.look(error)
            raise

    def look(self, error: Exception) -> None:
        """Find out whether the GPU can still be used after this error, and remember if not; the context is current.

        Raises:
            CudaError: it cannot.
        """
        status = self.driver.status("cuStreamQuery", self._probe)
        if status not in _FATAL:
            return
        if self._failure is None:
            self._failure = (
                f"GPU {self.ordinal} ({self.device.name}) cannot be used by this process any more since "
                f"{self.driver.name_of(status)} ({status}), first noticed as: {error}; start the process again"
            )
        raise CudaError(self._failure, status) from error

    def _check_elsewhere(self) -> None:
        device = c_int()
        self.driver.call("cuCtxGetDevice", byref(device))
        if device.value == self.driver.handle(self.ordinal).value:
            raise UsageError(
                f"another context than the primary one of GPU {self.ordinal} is current in this thread, as "
                "pycuda.autoinit makes it; expected the primary one, that of PyTorch, CuPy and "
                "repsr_kernels.gpu.context.shared_context(): make it current, and take memory and streams from it"
            )

    @contextmanager
    def _pushed(self) -> Generator[None]:
        self.driver.call("cuCtxPushCurrent_v2", self.handle)
        try:
            yield
        finally:
            # without a check: its failure would hide that of the work
            self.driver.status("cuCtxPopCurrent_v2", byref(c_void_p()))


@cache
def primary_context(ordinal: int) -> PrimaryContext:
    """The one of this process, made when first asked for.

    Raises:
        RuntimeUnavailableError: there is no such GPU, or no driver.
        CudaError: the driver cannot make it.
    """
    try:
        load_driver().handle(ordinal)
    except CudaError as error:
        raise RuntimeUnavailableError(
            f"GPU {ordinal} cannot be used here: {error}; expected an NVIDIA GPU and its driver"
        ) from error
    return PrimaryContext(ordinal)
