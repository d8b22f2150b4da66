"""Streams of whatever library, as the driver's handles."""

from __future__ import annotations

from ctypes import byref, c_uint, c_void_p
from typing import Any

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.driver import Driver

DEFAULT = 0
"""The default stream."""
_LEGACY, _PER_THREAD = 1, 2  # CU_STREAM_LEGACY, CU_STREAM_PER_THREAD: the numbers 0 and 1 mean one stream
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


def stream_handle(stream: Any) -> int:
    """The driver's CUstream: of a number, a stream of PyCUDA, PyTorch, CuPy, or any that follows `__cuda_stream__`.

    Raises:
        UsageError: something else.
    """
    if stream is None:
        return DEFAULT
    if isinstance(stream, int) and not isinstance(stream, bool) and stream >= 0:
        return stream
    told: Any = getattr(stream, "__cuda_stream__", None)
    if told is not None:  # a method in NVIDIA's protocol, an attribute in its first version: its version, the handle
        pair: Any = told() if callable(told) else told
        return int(pair[1])
    for name in ("handle", "cuda_stream", "ptr"):  # PyCUDA, PyTorch, CuPy
        handle = getattr(stream, name, None)
        if isinstance(handle, int):
            return handle
    raise UsageError(
        f"stream is {stream!r}; expected a handle, a stream of PyCUDA, PyTorch or CuPy, or None for the default stream"
    )


def let_wait(driver: Driver, stream: int, other: int) -> None:
    """Let what is put on a stream from now on wait for what is on another one; the context is current.

    Raises:
        CudaError: the driver refuses.
    """
    if _same(stream, other):
        return
    event = c_void_p()
    driver.call("cuEventCreate", byref(event), c_uint(_NO_TIMING))
    try:
        driver.call("cuEventRecord", event, c_void_p(other))
        driver.call("cuStreamWaitEvent", c_void_p(stream), event, c_uint(0))
    finally:
        driver.call("cuEventDestroy_v2", event)  # freed once nobody waits any more


def _same(stream: int, other: int) -> bool:
    return (stream or _LEGACY) == (other or _LEGACY)
