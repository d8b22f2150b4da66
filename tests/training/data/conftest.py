"""Folders that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_train.data.prepare import prepare
from tests.training.data.scenes import write_mixed


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mine` and `other`, see `write_mixed`."""
    root = tmp_path_factory.mktemp("mixed")
    write_mixed(root)
    return root


@pytest.fixture(scope="session")
def store(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `mixed`; not to be changed."""
    out = tmp_path_factory.mktemp("stores") / "store"
    prepare([mixed / "mine", mixed / "other"], out, licences=["CC0", "mine"], workers=1)
    return out
