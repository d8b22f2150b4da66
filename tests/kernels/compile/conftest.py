"""What the tests of compiling share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.compile.nvcc import Nvcc, nvcc
from repsr_kernels.compile.nvrtc import Nvrtc, nvrtc
from repsr_kernels.errors import RuntimeUnavailableError
from tests.conftest import users_cache


def user_cache() -> Path:
    """The user's own cache folder: what took long to compile or to fetch stays there."""
    with users_cache():
        return cache_dir()


@pytest.fixture(scope="session")
def nvcc_here() -> Nvcc:
    """The nvcc of this machine, or a visible skip; continuous integration must have one."""
    try:
        return nvcc()
    except RuntimeUnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"continuous integration must compile for GPUs: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def nvrtc_here() -> Nvrtc:
    """NVRTC, which needs no GPU and comes with the packages for development."""
    return nvrtc()
