"""Operations on processors: the kernels' own text, compiled for this machine on first use."""

from __future__ import annotations

import ctypes
import os
from functools import cache

from repsr_kernels.errors import RepsrError, UsageError
from repsr_kernels.operations import FusedUpsample, Preprocess
from repsr_kernels.params import params_of


def run(operation: FusedUpsample | Preprocess, threads: int | None = None) -> None:
    """Do it, in the memory of the host.

    Args:
        threads: at most so many; None for one on every core that this process may use.

    Raises:
        UsageError: its tensors lie in the memory of a GPU, or no threads.
        RuntimeUnavailableError: no C++ compiler, or it fails.
        RepsrError: memory has run out.
    """
    if operation.out.device is not None:
        raise UsageError(f"tensors lie in the memory of GPU {operation.out.device}; expected the host's")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; expected 1 or more")
    function = "repsr_fused_upsample" if isinstance(operation, FusedUpsample) else "repsr_preprocess"
    error = library()[function](ctypes.byref(params_of(operation)), threads or len(os.sched_getaffinity(0)))
    if error:
        raise RepsrError(f"{function} has failed: {os.strerror(error)}; free some memory")


@cache
def library() -> ctypes.CDLL:
    """The compiled functions of both. Calling one releases the interpreter's lock while it runs."""
    from repsr_kernels.compile.cache import CSRC
    from repsr_kernels.compile.host import host_library

    return ctypes.CDLL(str(host_library([CSRC / "host_fused_upsample.cpp", CSRC / "host_preprocess.cpp"])))
