"""The form of all reports: it can be read again, it is strict JSON, and it refuses what is none of ours."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.bench.report import SCHEMA, Report, Row, read_report, utc_now, write_report
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError

MACHINE: dict[str, Any] = {"processor": "Chip", "cores": 2, "threads": 1, "gpus": [], "packages": {}}


def report_of(*rows: Row) -> Report:
    return Report(
        command="throughput",
        arguments="repsr-bench throughput größe",
        created=utc_now(),
        machine=MACHINE,
        settings={"seconds": 2.0, "hr": None},
        peaks={"fp32": 1e11},
        rows=rows,
        notes=["a note"],
    )


def rows() -> tuple[Row, Row]:
    fast = Row(
        key={"model": "m", "runtime": "r"},
        timing=Timing((0.25, 0.125, 0.5)),
        figures={"verified_db": math.inf, "images_per_s": 4.0, "macs_per_s": None},
    )
    return fast, Row(key={"model": "m", "runtime": "other"}, failure="no such card", figures={"verified_db": 12.5})


def test_reading_gives_what_was_written(tmp_path: Path) -> None:
    report = report_of(*rows())
    write_report(tmp_path / "r.json", report)
    again = read_report(tmp_path / "r.json")
    assert list(again.rows) == list(report.rows)
    assert again.to_json() == report.to_json()
    assert (again.arguments, again.machine, again.notes) == (report.arguments, MACHINE, ["a note"])


def test_file_is_strict_json_with_every_number() -> None:
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(report_of(*rows()).to_json(), parse_constant=refused)
    assert content["schema"] == SCHEMA
    fast, failed = content["rows"]
    assert fast["times_s"] == [0.25, 0.125, 0.5]
    assert (fast["median_s"], fast["runs"]) == (0.25, 3)
    assert fast["p95_s"] == pytest.approx(0.475)
    assert fast["figures"] == {"verified_db": "inf", "images_per_s": 4.0, "macs_per_s": None}
    assert failed["failure"] == "no such card"
    assert failed["times_s"] == []
    assert "median_s" not in failed


def test_nan_cannot_be_written() -> None:
    broken = Row(key={"model": "m"}, timing=Timing((1.0,)), figures={"psnr_y_db": math.nan})
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_of(broken).to_json()


def test_times_stay_on_one_line() -> None:
    row = Row(key={"model": "m"}, timing=Timing(tuple(index / 7 for index in range(1, 500))))
    text = report_of(row).to_json()
    assert len(text.splitlines()) < 60
    assert len(json.loads(text)["rows"][0]["times_s"]) == 499


def test_a_row_has_either_times_or_a_failure() -> None:
    with pytest.raises(ValueError, match="expected one"):
        Row(key={"model": "m"})
    with pytest.raises(ValueError, match="expected one"):
        Row(key={"model": "m"}, timing=Timing((1.0,)), failure="no")
    with pytest.raises(ValueError, match=r"figures \['speed'\]"):
        Row(key={"model": "m"}, failure="no", figures={"speed": 1.0})


def test_two_rows_of_one_name_are_a_defect() -> None:
    row = rows()[0]
    with pytest.raises(ValueError, match="two rows are named 'm, r'"):
        report_of(row, row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "its schema is None"),
        ('{"schema": "repsr-bench-0"}', "its schema is 'repsr-bench-0'"),
        (f'{{"schema": "{SCHEMA}"}}', "is damaged .KeyError"),
        (f'{{"schema": "{SCHEMA}", "rows": [{{"times_s": ["x"]}}]}}', "is damaged .ValueError"),
        (f'{{"schema": "{SCHEMA}", "rows": 3}}', "is damaged .TypeError"),
    ],
)
def test_files_of_others_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_report(tmp_path / "r.json")


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_report(tmp_path / "r.json")
    (tmp_path / "r.json").write_bytes(b"\x89PNG\xff")
    with pytest.raises(UsageError, match="is not JSON"):
        read_report(tmp_path / "r.json")
