"""Engines of what `repsr-fuse export` writes, from the real builder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from repsr_deploy.cli.fuse import main
from repsr_deploy.model_info import ModelIo, Precision
from tests.runtimes.tensorrt.conftest import Worker, environment

pytestmark = pytest.mark.tensorrt

Export = Callable[[Precision, ModelIo], Path]
CONVOLUTIONS = {"fp32": {"fp32": 6}, "fp16": {"fp16": 6}, "bf16": {"bf16": 6}, "int8": {"fp32": 1, "int8": 5}}
"""Of photo-x2: the first stays float in int8."""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """photo-x2 in a precision and io, written once."""
    folder = tmp_path_factory.mktemp("exports")

    def write(precision: Precision, io: ModelIo) -> Path:
        out = folder / f"photo-x2_{precision}_{io}.onnx"
        if not out.exists():
            assert main(["export", "photo-x2", "--out", str(out), "--precision", precision, "--io", io]) == 0
        return out

    return write


@pytest.mark.parametrize(
    ("precision", "io"),
    [*((precision, "image") for precision in get_args(Precision)), ("fp16", "float"), ("fp16", "features")],
)
def test_the_bundled_model_builds_in_every_form(
    worker: Worker, export: Export, precision: Precision, io: ModelIo, tmp_path: Path
) -> None:
    out = tmp_path / "photo-x2.engine"
    record = worker.do("build", model=export(precision, io), out=out, shapes="64x64:360x640:1080x1920")["record"]
    assert record["convolutions"] == CONVOLUTIONS[precision]
    assert out.stat().st_size > 100_000


def test_the_command_writes_an_engine_without_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "photo-x2.engine"
    start = "import sys; from repsr_deploy.cli.fuse import main; sys.exit(main(sys.argv[1:]))"
    command = ["export", "photo-x2", "--out", out, "--format", "tensorrt-rtx", "--precision", "fp16", "--io", "image"]
    run = subprocess.run(
        [sys.executable, "-c", start, *command, "--shape", "64x64:360x640:1080x1920"],
        env=environment("tensorrt-rtx", tmp_path / "cache"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert f"wrote {out}" in run.stdout
    assert "self-test in onnxruntime, fp32: " in run.stdout
    record = json.loads(Path(f"{out}.json").read_text())
    assert record["convolutions"] == {"fp16": 6}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [out.name, f"{out.name}.json"]
