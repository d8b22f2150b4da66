"""One form for what every command of `repsr-bench` finds: rows that are printed, written as Markdown, kept as JSON.

The JSON file (`SCHEMA`) is one object:

    schema      "repsr-bench-1"; another number when a reader of this one would misread it
    command     "throughput", "end-to-end", "trtexec", "kernels" or "cpu"
    arguments   the command line
    created     UTC, ISO 8601
    machine     what it ran on (`machine.describe_machine`)
    settings    what else was asked for, name -> value
    peaks       multiply-adds a second of a matrix product measured in the same run, by type; may be empty
    rows        one object for each thing measured:
        key       what it is, name -> text; no two rows have the same
        failure   why there is no speed; null where there is
        times_s   every wall-clock time in the order in which they were taken, seconds; empty after a failure
        median_s, lower_quartile_s, upper_quartile_s, p95_s, p99_s, runs      of `times_s`; left out after a failure
        figures   other numbers, name -> value (`FIGURES`); null where unknown, "inf" for the PSNR of equal pictures
    notes       lines for people

Seconds, bytes and decibels throughout; no NaN and no Infinity, which are not JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError
from repsr_deploy.files import write_text

SCHEMA = "repsr-bench-1"
_NUMBERS = re.compile(r"\[[-+.,0-9eE\s]+\]")
"""A list of numbers, to be written on one line."""


@dataclass(frozen=True)
class Figure:
    """How a number beside the times is shown."""

    heading: str
    meaning: str
    form: str
    """Format of the value times `factor`."""
    factor: float = 1.0


FIGURES: Mapping[str, Figure] = {
    "verified_db": Figure("verified dB", "PSNR between its output and that of the fp32 reference in this run", ".1f"),
    "psnr_y_db": Figure("PSNR-Y dB", "on the HR pictures given, by the protocol of repsr-eval", ".3f"),
    "images_per_s": Figure("images/s", "images of that size a second", ",.1f"),
    "megapixels_per_s": Figure("MP/s", "megapixels of output a second", ",.1f"),
    "macs_per_s": Figure("GMAC/s", "multiply-adds of its convolutions a second, in units of 10^9", ",.0f", 1e-9),
    "peak_share": Figure("of peak", "share of the multiply-adds a second of a matrix product, same type", ".0%"),
    "faster_than_branches": Figure("x branches", "times faster than with branches in the same runtime", ".2f"),
    "resident_bytes": Figure("MiB", "resident memory that it takes at most, libraries included", ",.0f", 2**-20),
    "ms_per_megapixel": Figure("ms/MP", "milliseconds for a megapixel of output", ",.1f"),
    "useful_bytes_per_s": Figure("GB/s", "bytes that must be read or written, each once, a second", ",.1f", 1e-9),
    "copy_share": Figure("of copy", "share of the bytes a second of a plain copy in the same run", ".0%"),
    "times_first": Figure("x first", "its time as a multiple of that of the first way to do the same", ".2f"),
    "times_plain": Figure("x plain", "times as fast as the plain script in the same run", ".2f"),
    "cores_share": Figure("cores", "share of the processor's time that was used", ".0%"),
    "stage_share": Figure("of slowest", "share of the speed of its slowest stage alone", ".0%"),
    "instruction_share": Figure("of instr.", "share of the multiply-adds a second of its instruction alone", ".0%"),
    "cycles_per_dot": Figure(
        "cycles/dot", "processor cycles for each dot product of a vector that is needed; the peak is one in 0.5", ".2f"
    ),
    "times_best_other": Figure(
        "x others", "times as fast as the fastest other runtime that computes in the same or a longer precision", ".2f"
    ),
    "times_openvino_bf16": Figure("x OV bf16", "times as fast as OpenVINO in bf16", ".2f"),
    "times_one_thread": Figure("x 1 thread", "times as fast as with one thread", ".2f"),
    "beyond_bytes": Figure(
        "MiB beyond", "growth of resident memory to its peak, without the picture and the result", ",.0f", 2**-20
    ),
}
"""What a row may say beside its times; every command uses the names that it needs."""
TIMES = ("median ms", "p95", "p99", "spread", "runs")
"""Headings of the times; spread: what lies between the quartiles, as a fraction of the median."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing measured, or why it could not be."""

    key: Mapping[str, str]
    timing: Timing | None = None
    failure: str = ""
    """Why there is no timing; empty exactly where there is one."""
    figures: Mapping[str, float | None] = field(default_factory=dict[str, float | None])

    def __post_init__(self) -> None:
        if (self.timing is None) != bool(self.failure):
            raise ValueError(f"row {dict(self.key)} has {self.timing} and failure {self.failure!r}; expected one")
        unknown = set(self.figures) - set(FIGURES)
        if unknown:
            raise ValueError(f"row {dict(self.key)} has figures {sorted(unknown)}; expected some of {[*FIGURES]}")

    @property
    def name(self) -> str:
        """The key in one line."""
        return ", ".join(text for text in self.key.values() if text)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        content: dict[str, Any] = {"key": dict(self.key), "failure": self.failure or None}
        if self.timing is not None:
            low, high = self.timing.quartiles_s
            content |= {
                "median_s": self.timing.median_s,
                "lower_quartile_s": low,
                "upper_quartile_s": high,
                "p95_s": self.timing.percentile_s(95),
                "p99_s": self.timing.percentile_s(99),
                "runs": len(self.timing.times_s),
            }
        content["figures"] = {name: "inf" if value == math.inf else value for name, value in self.figures.items()}
        return content | {"times_s": self.timing.times_s if self.timing else []}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Row:
        """The inverse of `to_dict`; what follows from the times is computed again."""
        times = tuple(float(value) for value in content["times_s"])
        return cls(
            key={str(name): str(text) for name, text in content["key"].items()},
            timing=Timing(times) if times else None,
            failure=content["failure"] or "",
            figures={name: None if value is None else float(value) for name, value in content["figures"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one command measured."""

    command: str
    arguments: str
    created: str
    machine: Mapping[str, Any]
    rows: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    peaks: Mapping[str, float] = field(default_factory=dict[str, float])
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        keys = [tuple(row.key.items()) for row in self.rows]
        twice = next((row.name for row in self.rows if keys.count(tuple(row.key.items())) > 1), None)
        if twice is not None:
            raise ValueError(f"two rows are named {twice!r}; expected each once")

    def to_json(self) -> str:
        """The text of a file; see the module's description."""
        content = {
            "schema": SCHEMA,
            "command": self.command,
            "arguments": self.arguments,
            "created": self.created,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "peaks": dict(self.peaks),
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
        return _NUMBERS.sub(lambda found: " ".join(found.group().split()), text) + "\n"


def utc_now() -> str:
    """The time of day, UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON, atomically."""
    write_text(path, report.to_json())


def read_report(path: Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        UsageError: the file is missing, or is none of ours.
    """
    expected = f"expected a file that `repsr-bench ... --json FILE` wrote, schema {SCHEMA}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; {expected}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); {expected}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise UsageError(f"{path} is no report of this tool: its schema is {schema!r}; {expected}")
    try:
        rows = tuple(Row.from_dict(row) for row in content["rows"])
        rest = {
            name: content[name] for name in ("command", "arguments", "created", "machine", "settings", "peaks", "notes")
        }
        return Report(rows=rows, **rest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({type(error).__name__}: {error}); {expected}") from error
