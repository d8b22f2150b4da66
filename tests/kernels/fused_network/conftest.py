"""The GPU, as the other tests of kernels have it."""

from __future__ import annotations

from tests.kernels.gpu.conftest import cuda, gpu

__all__ = ["cuda", "gpu"]
