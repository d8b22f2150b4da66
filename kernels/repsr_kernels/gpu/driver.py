"""The little of NVIDIA's driver library that neither TensorRT nor PyCUDA gives: which GPU this is, CUDA graphs, and
what `context`, `memory` and `launch` call by its name.

Signatures and numbers are those of `cuda.h` in CUDA 12 and 13. A new name of a function (`_v2`) is the symbol that the
header maps the documented name to.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import cache

from repsr_kernels.errors import RepsrError

LIBRARY = "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_CAPTURE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may allocate meanwhile


OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


class CudaError(RepsrError):
    """A call of the driver failed."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The driver's CUresult, where it gave one."""


class CudaMemoryError(CudaError, MemoryError):
    """The GPU has no memory left."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU."""

    name: str
    """As NVIDIA calls it, `NVIDIA GeForce RTX 4090`."""
    compute_capability: str
    """`8.9`."""

    @property
    def architecture(self) -> int:
        """Ten times the compute capability."""
        return int(self.compute_capability.replace(".", ""))


class Driver:
    """NVIDIA's driver library, initialized.

    Raises:
        CudaError: there is none, or it finds no GPU that it can use.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaError(f"no NVIDIA driver ({error})") from error
        self.call("cuInit", c_uint(0))

    def call(self, function: str, *arguments: object) -> None:
        """Call a function that returns CUresult.

        Raises:
            CudaError: it returned an error, which is named.
        """
        status = self.status(function, *arguments)
        if status != 0:
            kind = CudaMemoryError if status == OUT_OF_MEMORY else CudaError
            raise kind(f"{function} of the NVIDIA driver: {self.name_of(status)} ({status})", status)

    def status(self, function: str, *arguments: object) -> int:
        """Call a function and give its CUresult."""
        return getattr(self._library, function)(*arguments)

    def name_of(self, status: int) -> str:
        """The name of a CUresult in `cuda.h`."""
        name = c_char_p()
        self._library.cuGetErrorName(c_int(status), byref(name))
        return (name.value or b"unknown error").decode()

    def version(self) -> tuple[int, int]:
        """The newest CUDA that the driver knows."""
        number = c_int()
        self.call("cuDriverGetVersion", byref(number))
        return number.value // 1000, number.value % 1000 // 10

    def handle(self, ordinal: int) -> c_int:
        """The driver's CUdevice of a GPU.

        Raises:
            CudaError: there are not so many.
        """
        handle = c_int()
        self.call("cuDeviceGet", byref(handle), c_int(ordinal))
        return handle

    def device(self, ordinal: int = 0) -> Device:
        """A GPU: `CUDA_VISIBLE_DEVICES` says which one is the first.

        Raises:
            CudaError: there is none.
        """
        handle = self.handle(ordinal)
        name = create_string_buffer(256)
        self.call("cuDeviceGetName", name, c_int(len(name)), handle)
        numbers: list[int] = []
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
            number = c_int()
            self.call("cuDeviceGetAttribute", byref(number), c_int(attribute), handle)
            numbers.append(number.value)
        return Device(name=name.value.decode(), compute_capability="{}.{}".format(*numbers))


@cache
def load_driver() -> Driver:
    """The one of this process.

    Raises:
        CudaError: there is none, or it finds no GPU that it can use.
    """
    return Driver()


def find_device() -> Device | None:
    """The GPU that TensorRT would use; None without a GPU or driver."""
    try:
        return load_driver().device()
    except CudaError:
        return None


def why_no_device() -> str | None:
    """Why there is no GPU to be used; None where there is one."""
    try:
        load_driver().device()
    except CudaError as error:
        return str(error)
    return None


class CudaGraph:
    """Work recorded on a stream, to be launched again and again at the cost of one call."""

    def __init__(self, driver: Driver, executable: c_void_p) -> None:
        self._driver = driver
        self._executable = executable

    @classmethod
    def record(cls, stream: int, enqueue: Callable[[], None]) -> CudaGraph:
        """What `enqueue` puts on the stream with this handle, which is recorded and not executed.

        Raises:
            CudaError: something in it cannot be recorded; the stream is as before.
        """
        driver = load_driver()
        graph = c_void_p()
        executable = c_void_p()
        driver.call("cuStreamBeginCapture_v2", c_void_p(stream), c_int(_CAPTURE_THREAD_LOCAL))
        try:
            try:
                enqueue()
            finally:
                driver.call("cuStreamEndCapture", c_void_p(stream), byref(graph))
            driver.call("cuGraphInstantiateWithFlags", byref(executable), graph, c_ulonglong(0))
        finally:
            if graph:
                driver.call("cuGraphDestroy", graph)
        return cls(driver, executable)

    def launch(self, stream: int) -> None:
        """Put the recorded work on the stream with this handle.

        Raises:
            CudaError: the driver refuses.
        """
        self._driver.call("cuGraphLaunch", self._executable, c_void_p(stream))

    def close(self) -> None:
        """Free the recording; it must not be running."""
        if self._executable:
            self._driver.call("cuGraphExecDestroy", self._executable)
            self._executable = c_void_p()
