"""Nothing heavy is loaded before it is used: measured in fresh interpreters, on the installed packages."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HEAVY = {
    *("cv2", "matplotlib", "onnx", "onnxruntime", "openvino", "pycuda", "safetensors", "scipy", "skimage", "sklearn"),
    *("tensorboard", "tensorrt", "torch", "yaml"),
}
HELP_HEAVY = HEAVY - {"cv2"}  # OpenCV loads in a tenth of a second: a command may import it at its top
IMPORT_LIMIT_S = 0.2
COMMANDS: dict[str, str] = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"][
    "scripts"
]


def run_fresh(code: str) -> str:
    """Standard output of `code` in a fresh interpreter, away from this folder and this environment's PYTHONPATH."""
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that are loaded once `code` has run."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    return set(json.loads(run_fresh(f"{code}\n{report}").splitlines()[-1]))


def help_text_and_loaded(command: str) -> tuple[str, set[str]]:
    """What `command --help` prints, and the top-level modules that it loads."""
    module, _, function = COMMANDS[command].partition(":")
    code = f"""
import json, sys
from {module} import {function} as main
sys.argv = [{command!r}, "--help"]
try:
    code = main()
except SystemExit as exit:
    code = exit.code
print(json.dumps([code or 0, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""
    *text, report = run_fresh(code).splitlines()
    code, loaded = json.loads(report)
    assert code == 0
    return "\n".join(text), set(loaded)


@pytest.mark.parametrize("package", ["repsr_deploy", "repsr_train", "repsr_kernels"])
def test_package_import_is_lean(package: str) -> None:
    loaded = loaded_after(f"import {package}")
    assert package in loaded
    assert not loaded & HEAVY


def test_a_heavy_import_is_seen() -> None:
    assert loaded_after("import cv2") & HEAVY == {"cv2"}


def test_package_import_is_fast() -> None:
    code = "import time; start = time.perf_counter(); import repsr_deploy; print(time.perf_counter() - start)"
    best_s = min(float(run_fresh(code)) for _ in range(5))  # the best: another process can only make it slower
    assert best_s < IMPORT_LIMIT_S


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_lean(command: str) -> None:
    text, loaded = help_text_and_loaded(command)
    assert command in text
    assert "Usage" in text
    assert not loaded & HELP_HEAVY
