"""What is compiled is there in an installed package, too: the patterns of package data take all of it along."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import repsr_kernels

PACKAGE = Path(repsr_kernels.__file__).parent
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"

CODE = """
import json, sys
sys.path.insert(0, {site!r})
from pathlib import Path
from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.host import host_library
source = Path({site!r}) / "all.cpp"
source.write_text('#include "params.cuh"')
library = host_library([source])
print(json.dumps([str(CSRC), str(library), sorted(path.name for path in CSRC.iterdir())]))
"""


def test_installed_texts_are_found_and_compiled(tmp_path: Path) -> None:
    """A folder with the modules and with what pyproject.toml declares as data, as an installer makes it."""
    patterns = tomllib.loads(PYPROJECT.read_text())["tool"]["setuptools"]["package-data"]["repsr_kernels"]
    site = tmp_path / "site"
    for path in (*PACKAGE.rglob("*.py"), *(each for pattern in patterns for each in PACKAGE.glob(pattern))):
        target = site / "repsr_kernels" / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    command = [sys.executable, "-I", "-c", CODE.format(site=str(site))]
    environment = {**os.environ, "REPSR_CACHE": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    csrc, library, names = json.loads(result.stdout)
    assert Path(csrc) == site / "repsr_kernels" / "csrc"
    assert Path(library).parent == tmp_path / "kernels"
    assert names == sorted(path.name for path in (PACKAGE / "csrc").iterdir())
