"""What the tests of the pipeline share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from repsr_kernels.gpu.context import GpuContext
from tests.kernels.gpu.pipeline.shift_network import ShiftNetwork

Make = Callable[..., ShiftNetwork]


@pytest.fixture
def make(gpu: GpuContext) -> Make:
    """A network."""

    def made(**options: Any) -> ShiftNetwork:
        return ShiftNetwork(gpu.cuda, **options)

    return made
