"""The GPU of this machine, real or simulated (`scripts/simulated_gpu`)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from repsr_kernels.gpu.context import GpuContext
from tests.gpu import gpu_or_skip


@pytest.fixture(scope="session")
def gpu() -> GpuContext:
    return gpu_or_skip()


@pytest.fixture
def cuda(gpu: GpuContext) -> Generator[Any]:
    """PyCUDA's driver module, with the shared context current in this thread."""
    with gpu.current():
        yield gpu.cuda
