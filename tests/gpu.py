"""The GPU of this machine, real or simulated (`scripts/simulated_gpu`)."""

from __future__ import annotations

import pytest

from repsr_kernels.gpu.context import GpuContext, load_pycuda, shared_context
from repsr_kernels.gpu.driver import why_no_device


def gpu_or_skip() -> GpuContext:
    """The shared context, or a visible skip."""
    if reason := why_no_device():
        pytest.skip(f"no GPU: {reason}")
    try:
        load_pycuda()
    except ImportError as error:
        pytest.skip(f"a GPU, but no PyCUDA: {error}")
    return shared_context()
