"""What tests ask the simulation itself, in a process that has it; and a kernel to play with."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.compile.cache import CSRC

NON_BLOCKING = 1
"""Flag of a stream that the default stream does not wait for."""
HERE = Path(__file__).parent
SHIFT = np.dtype([("to", "u8"), ("source", "u8"), ("count", "i8"), ("offset", "i8"), ("add", "f4"), ("", "i4")])


def begin() -> Any:
    """`pycuda.driver`, with a context of this process's own that is current."""
    import pycuda.autoinit  # pyright: ignore[reportMissingImports]
    import pycuda.driver as cuda  # pyright: ignore[reportMissingImports]

    assert pycuda.autoinit.device.name() == "Simulated GPU"
    return cuda


def raises(error: str, action: Callable[..., object], *arguments: object) -> None:
    """Assert that PyCUDA raises this CUresult: its name without `CUDA_ERROR_`."""
    import pycuda.driver as cuda  # pyright: ignore[reportMissingImports]

    with pytest.raises(cuda.Error, match=f"CUDA_ERROR_{error}"):
        action(*arguments)


def noise(size: int) -> NDArray[np.float32]:
    """Floats that tell a missing, a moved and a doubled one."""
    return np.random.default_rng(size).standard_normal(size, np.float32)


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libcuda.so.1")
    library.simulated_statistic.restype = ctypes.c_longlong
    return library


def is_simulated() -> bool:
    """Whether the driver of this process is the simulated one."""
    try:
        return hasattr(_library(), "simulated_statistic")
    except OSError:
        return False


def statistic(name: str) -> int:
    """A number of what happened so far, or is there now: `control.cpp` has the names."""
    value: int = _library().simulated_statistic(name.encode())
    assert value >= 0, f"{name} is no statistic, or negative: {value}"
    return value


def schedule(name: str) -> None:
    """`eager`, `lazy` or `random:SEED` from now on."""
    assert _library().simulated_schedule(name.encode()) == 0


def fail(function: str, error: int, *, after_calls: int = 0) -> None:
    """Have a function of the driver give this CUresult the next time, or the time after so many more calls."""
    _library().simulated_fail(function.encode(), after_calls, error)


def compiled(kind: str = "-cubin", target: str = "sm_90") -> bytes:
    """The image of `kernels/shift.cu`."""
    with tempfile.TemporaryDirectory() as folder:
        image, source = Path(folder, "image"), HERE / "kernels" / "shift.cu"
        subprocess.run(["nvcc", kind, f"-arch={target}", "-fmad=false", f"-I{CSRC}", "-o", image, source], check=True)
        return image.read_bytes()


class Shift:
    """The kernel, loaded into the current context."""

    def __init__(self) -> None:
        import pycuda.driver as cuda  # pyright: ignore[reportMissingImports]

        self._module: Any = cuda.module_from_buffer(compiled())
        self.function: Any = self._module.get_function("shift")

    def __call__(
        self,
        to: Any,
        source: Any,
        count: int,
        stream: Any = None,
        *,
        offset: int = 0,
        add: float = 0,
        threads: int = 64,
    ) -> None:
        """Launch it: `to[index + offset] = source[index] + add` for so many floats."""
        params = np.array((int(to), int(source), count, offset, add, 0), SHIFT)[()]
        self.function(params, block=(threads, 1, 1), grid=(-(-count // threads), 1, 1), stream=stream)
