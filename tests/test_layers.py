"""Imports run one way, and the contract that says so can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages below `root`, not on the installed ones."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "training"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("repsr_deploy", "training"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    return tmp_path


def test_contracts_are_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_planted_upward_import_is_found(copied_tree: Path) -> None:
    # inside a function, because that is how an upward import would hide
    (copied_tree / "repsr_deploy/planted.py").write_text("def train() -> None:\n    import repsr_train\n")
    result = lint_imports(copied_tree)
    assert result.returncode == 1
    assert "repsr_deploy.planted -> repsr_train" in result.stdout, result.stdout + result.stderr
