"""The bars: whose they are, and that they are seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.bench.cpu.plot import draw_report, drawn
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import read_image

MACHINE = {"processor": "Chip", "cores": 2, "threads": 2, "gpus": [], "packages": {}}


def row(runtime: str, computes: str, ms: float, **changes: str) -> Row:
    key = {"model": "m", "input": "8x8", "runtime": runtime, "computes": computes, "instructions": "", "threads": "2"}
    return Row(key={**key, "way": "whole", **changes}, timing=Timing((ms / 1e3,)))


ROWS = [
    row("native", "fp32", 3.0, instructions="avx512"),
    row("native", "fp32", 5.0, instructions="avx2"),
    row("native", "fp32", 9.0, instructions="portable"),
    row("native", "fp32", 6.0, instructions="avx512", threads="1"),
    row("native", "fp32", 900.0, instructions="avx512", input="3840x2160", way="whole, alone"),
    row("openvino", "bf16", 7.0),
    row("pytorch", "fp32", 4000.0),
    row("onnxruntime", "int8", 1.0, model="other"),
    row("openvino", "bf16", 70.0, input="16x16"),
]


def report(*rows: Row) -> Report:
    return Report(command="cpu", arguments="", created="", machine=MACHINE, rows=rows)


def test_bars_are_of_the_first_model_with_all_threads() -> None:
    found = {bar: found.timing.median_s * 1e3 for (bar, _), found in drawn(ROWS, "2").items() if found.timing}
    assert {key: value for key, value in found.items() if key[0] == "native"} == {
        ("native", "fp32", ""): pytest.approx(3.0), ("native", "fp32", "avx2"): pytest.approx(5.0)
    }  # fmt: skip
    assert {size for _, size in drawn(ROWS, "2")} == {"8x8", "16x16"}
    assert not any(bar[0] == "onnxruntime" for bar, _ in drawn(ROWS, "2"))


def test_where_avx2_is_the_best_it_stands_once() -> None:
    assert list(drawn(ROWS[1:3], "2")) == [(("native", "fp32", ""), "8x8")]


def test_short_bars_are_seen_beside_long_ones(tmp_path: Path) -> None:
    draw_report(tmp_path / "a.png", report(*ROWS))
    picture = read_image(tmp_path / "a.png")[..., :3]
    counts = {
        colour: int((picture.astype(np.int64) == colour).all(axis=-1).sum())
        for colour in ((0x88, 0x22, 0x55), (0, 0x9E, 0x73), (0xD5, 0x5E, 0))
    }
    assert min(counts.values()) > 500, counts


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row has a speed"):
        draw_report(tmp_path / "a.png", report(Row(key=ROWS[0].key, failure="no")))
    assert not (tmp_path / "a.png").exists()
