"""What all tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import skimage.data

from repsr_kernels.cache_dir import cache_dir

# the tensors of tests are tiny: a second thread of PyTorch costs far more than it gives, most of all on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

USER_CACHE = os.environ.get("REPSR_CACHE")
"""Where the user's cache folder is said to be: what is downloaded once stays there."""
COMPILED = cache_dir("kernels")
os.environ["REPSR_CACHE"] = tempfile.mkdtemp(prefix="repsr-tests-")
"""What tests choose and build must not come from another run. Compiled kernels may: their names are their contents."""
COMPILED.mkdir(parents=True, exist_ok=True)
cache_dir("kernels").symlink_to(COMPILED)
atexit.register(shutil.rmtree, os.environ["REPSR_CACHE"], ignore_errors=True)


@contextmanager
def users_cache() -> Generator[None]:
    """Use the user's own cache folder: what took long to compile or to fetch stays there."""
    with pytest.MonkeyPatch.context() as patch:
        if USER_CACHE is None:
            patch.delenv("REPSR_CACHE", raising=False)
        else:
            patch.setenv("REPSR_CACHE", USER_CACHE)
        yield


SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
"""Photographs and checkpoints beside the repository: not part of it, so tests that need them skip elsewhere."""


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real photographs, those inside scikit-image, as PNG and JPEG, one of them gray."""
    from repsr_deploy.imaging.image_file import write_image

    folder = tmp_path_factory.mktemp("photographs")
    write_image(folder / "coffee.png", skimage.data.coffee())
    write_image(folder / "chelsea.jpg", skimage.data.chelsea(), quality=98)
    write_image(folder / "camera.png", skimage.data.camera())
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a visible skip."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no {SHARED_DATA.parent.name}/{SHARED_DATA.name} folder beside the repository")
    return SHARED_DATA
