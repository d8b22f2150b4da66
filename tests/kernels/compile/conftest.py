"""What the tests of compiling share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.compile.nvcc import Nvcc, nvcc
from repsr_kernels.compile.nvrtc import Nvrtc, nvrtc
from repsr_kernels.errors import RuntimeUnavailableError
from tests.conftest import USER_CACHE


def user_cache() -> Path:
    """The user's own cache folder: what took long to compile or to fetch stays there."""
    with pytest.MonkeyPatch.context() as patch:
        if USER_CACHE is None:
            patch.delenv("REPSR_CACHE", raising=False)
        else:
            patch.setenv("REPSR_CACHE", USER_CACHE)
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
    """NVRTC of this machine, or what `pip install --target` has put into `nvrtc` in the user's cache folder."""
    sys.path.append(str(user_cache() / "nvrtc"))
    try:
        return nvrtc()
    except RuntimeUnavailableError as error:
        pytest.skip(f"{error}; or with --target {user_cache() / 'nvrtc'}")
    finally:
        sys.path.pop()
