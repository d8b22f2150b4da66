"""Tables for people: right numbers in few columns, and no number is ever cut."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from repsr_deploy.bench.report import Report, Row, utc_now
from repsr_deploy.bench.table import grid, markdown, rich_table
from repsr_deploy.bench.timing import Timing

MACHINE = {
    "version": "1.2",
    "platform": "Linux",
    "processor": "Chip",
    "cores": 4,
    "threads": 2,
    "gpus": ["Card"],
    "python": "3.11",
    "packages": {"numpy": "2.0"},
}


def rows() -> list[Row]:
    key = {"model": "photo|x2", "file": "fp32", "batch": "4"}
    return [
        Row(
            key={**key, "runtime": "onnxruntime"},
            timing=Timing((0.010, 0.011, 0.012, 1.5)),
            figures={"macs_per_s": 5.25e11, "peak_share": 0.625, "verified_db": math.inf, "resident_bytes": 2.0**30},
        ),
        Row(
            key={**key, "runtime": "openvino"},
            failure="output has 29.4 dB to the fp32 reference; int8 must have 38",
            figures={"verified_db": 29.4, "macs_per_s": None},
        ),
    ]


def test_cells() -> None:
    found = grid(rows(), "Throughput")
    assert found.title == "Throughput: photo|x2, file fp32, batch 4"
    table = [dict(zip(found.headings, cells, strict=True)) for cells in found.rows]
    assert table[0] == {
        "runtime": "onnxruntime",
        "median ms": "11.5",
        "p95": "1,276.8",
        "p99": "1,455.4",
        "spread": "3246%",
        "runs": "4",
        "verified dB": "inf",
        "GMAC/s": "525",
        "of peak": "62%",
        "MiB": "1,024",
    }
    assert table[1]["median ms"] == "failed"
    assert table[1]["verified dB"] == "29.4"
    assert {table[1][heading] for heading in ("p95", "runs", "GMAC/s", "MiB")} == {"-"}
    assert found.failures == [f"no speed: photo|x2, fp32, 4, openvino: {rows()[1].failure}"]


def test_a_single_row_keeps_its_columns() -> None:
    found = grid(rows()[:1], "T")
    assert found.title == "T"
    assert found.headings[:4] == ["model", "file", "batch", "runtime"]


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_what_does_not_fit_is_left_out_as_a_whole(width: int) -> None:
    table, left_out = rich_table(rows(), "Throughput", width)
    stream = io.StringIO()
    Console(file=stream, width=width, soft_wrap=True).print(table)
    text = stream.getvalue()
    for whole in ("onnxruntime", "openvino", "11.5", "failed"):
        assert whole in text
    assert ("1,455.4" in text) == ("p99" not in left_out)
    assert ("1,276.8" in text) == ("p95" not in left_out)
    assert (left_out == []) == (width in (100, 200))


def test_markdown() -> None:
    report = Report(
        command="throughput",
        arguments="repsr-bench throughput x",
        created=utc_now(),
        machine=MACHINE,
        rows=rows(),
        notes=["tensorrt is not measured: no card"],
    )
    text = markdown(report, "Throughput")
    lines = text.splitlines()
    assert lines[0] == "# Throughput: photo|x2, file fp32, batch 4"
    assert "`repsr-bench throughput x`" in lines
    assert any(line.startswith("Chip, 4 cores, 2 threads, Card; Linux; repsr-deploy 1.2") for line in lines)
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    assert table[1].startswith("| --- | ---: |")
    assert "- GMAC/s: " in text
    assert "- ms/MP: " not in text  # of no column
    assert "- tensorrt is not measured: no card" in lines
    assert text.endswith("\n")


def test_markdown_escapes_what_would_end_a_cell() -> None:
    report = Report(command="c", arguments="a", created="", machine=MACHINE, rows=rows()[:1])
    (line,) = (line for line in markdown(report, "T").splitlines() if "onnxruntime" in line)
    assert line.startswith(r"| photo\|x2 | fp32 | 4 | onnxruntime |")
