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
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (root / "training", root / "kernels"))),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("repsr_deploy", "training", "kernels"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    return tmp_path


def test_contracts_are_kept() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "imported", "contract", "found"),
    [
        ("planted", "repsr_train", "imports run one way", "repsr_deploy.planted -> repsr_train"),
        (
            "../kernels/repsr_kernels/planted",
            "repsr_deploy.files",
            "imports run one way",
            "repsr_kernels.planted -> repsr_deploy.files",
        ),
        ("errors", "repsr_deploy.files", "commands are on top", "repsr_deploy.errors -> repsr_deploy.files"),
        ("metrics/planted", "repsr_deploy.nets.network", "need no torch", "repsr_deploy.nets.network -> torch"),
    ],
)
def test_planted_import_breaks(copied_tree: Path, module: str, imported: str, contract: str, found: str) -> None:
    with (copied_tree / f"repsr_deploy/{module}.py").open("a") as file:
        file.write(f"\n\ndef planted() -> None:\n    import {imported}\n")  # where an unwanted import would hide
    result = lint_imports(copied_tree)
    assert result.returncode == 1
    (broken,) = (line for line in result.stdout.splitlines() if line.endswith("BROKEN"))
    assert contract in broken
    assert found in result.stdout, result.stdout + result.stderr
