"""metrics.jsonl: one line of JSON for each report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError
from repsr_deploy.files import write_text
from repsr_train.trainer import Report

METRICS = "metrics.jsonl"

Row = dict[str, Any]
"""step, loss, lr, images_per_s; where there were any, skipped; after a validation psnr_y and degraded, dB."""


def row_of(report: Report) -> Row:
    """A report as JSON has it."""
    row: Row = {
        "step": report.step,
        "loss": report.loss if math.isfinite(report.loss) else None,
        "lr": report.lr,
        "images_per_s": round(report.images_per_s, 1),
    }
    if report.skipped:
        row["skipped"] = list(report.skipped)
    if report.validation is not None:
        row["psnr_y"] = report.validation.psnr_y
        if report.validation.degraded:
            row["degraded"] = report.validation.degraded
    return row


class MetricsFile:
    """The metrics of a run, on the disk and, as `rows`, in memory."""

    def __init__(self, path: Path, step: int) -> None:
        """Take over what `path` holds up to `step`, where the run goes on, and cut the rest."""
        self._path = path
        self.rows = [row for row in _read(path) if row["step"] <= step]
        write_text(path, "".join(_line(row) for row in self.rows))

    def append(self, row: Row) -> None:
        """Add a line.

        Raises:
            RepsrError: it cannot be written.
        """
        self.rows.append(row)
        try:
            with self._path.open("a") as file:
                file.write(_line(row))
        except OSError as error:
            raise RepsrError(
                f"cannot write {self._path}: {error.strerror}; make space, then continue with --resume"
            ) from error


def _read(path: Path) -> list[Row]:
    """Every whole line; the last one may have been cut when the process was killed."""
    rows: list[Row] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
