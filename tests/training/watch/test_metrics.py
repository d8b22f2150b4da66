"""metrics.jsonl: rows, cutting on resume, full disks."""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path

import pytest

from repsr_deploy.errors import RepsrError
from repsr_train.trainer import Report
from repsr_train.validation import Validation
from repsr_train.watch.metrics import MetricsFile, row_of


def report(step: int, validation: Validation | None = None, loss: float = 0.02) -> Report:
    return Report(step, loss, 1e-3, 720.04, {}, validation)


def test_rows_hold_what_happened() -> None:
    assert row_of(report(100)) == {"step": 100, "loss": 0.02, "lr": 1e-3, "images_per_s": 720.0}
    row = row_of(Report(200, math.nan, 1e-3, 10, {150: math.inf}, Validation(30.5, {"blur": 28.0})))
    assert (row["loss"], row["skipped"], row["psnr_y"], row["degraded"]) == (None, [150], 30.5, {"blur": 28.0})
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_rows_beyond_the_resumed_step_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path, 0)
    for step in (100, 200, 300):
        first.append(row_of(report(step)))
    with path.open("a") as file:
        file.write('{"step": 400, "lo')  # killed while it was written
    second = MetricsFile(path, 200)
    assert [row["step"] for row in second.rows] == [100, 200]
    second.append(row_of(report(300, loss=0.5)))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(100, 0.02), (200, 0.02), (300, 0.5)]
    assert rows == second.rows


def test_a_new_run_begins_with_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path, 0).append(row_of(report(100)))
    assert MetricsFile(path, 0).rows == []
    assert path.read_text() == ""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl", 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(RepsrError, match=r"cannot write .*metrics\.jsonl: .*; make space, then continue"):
            metrics.append(row_of(report(100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [row["step"] for row in MetricsFile(tmp_path / "metrics.jsonl", 1000).rows] == []
