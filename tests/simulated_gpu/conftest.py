"""Processes with a simulated GPU, for tests whose bodies run in them."""

from __future__ import annotations

import pytest

from tests.simulated_gpu.child import SimulatedGpu, simulated_gpu_or_skip


@pytest.fixture(scope="session")
def simulated_gpu() -> SimulatedGpu:
    """How they are started."""
    return simulated_gpu_or_skip()
