"""What became of every file, as JSON for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.files import write_text
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.outcome import Outcome
from repsr_deploy.stages import StageUse

FORMAT = 1
"""Number of this form of report; another one means other fields."""


@dataclass(kw_only=True)
class OutcomeReport:
    """A run of many files, as far as it has come. All times are in seconds.

    `write` gives an object with

    - `format`, `version`, `command`, `options`: what ran;
    - `started`, `ended`: UTC, ISO 8601; `ended` is null in a report that a killed run has left;
    - `interrupted`: whether the run was ended before all files had their turn;
    - `model`, `runtime`, `precision`: of pictures; null where none was to be done;
    - `files`: for each, in the order of planning, `source`, `target`, `status` (`done`, `skipped`: its result was there
      and whole, `failed`, `open`: it has not had its turn), `error` (null or a sentence), `size` and `new_size`
      ([width, height], null where unknown), `seconds` and `stages_s`;
    - `errors`: what else went wrong, as folders that cannot be read;
    - `totals`: files by status, and `seconds` of the whole run;
    - `stages`: `busy_s` (of all its workers), `workers` and `items` by name; `limiting`: the stage that was busiest.
    """

    command: str
    options: Mapping[str, Any]
    jobs: Sequence[Job]
    errors: Sequence[str] = ()
    model: str | None = None
    runtime: str | None = None
    precision: str | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcomes: dict[Job, Outcome] = field(default_factory=dict[Job, Outcome])
    stages: Mapping[str, StageUse] = field(default_factory=dict[str, StageUse])
    limiting: str | None = None

    def add(self, *outcomes: Outcome) -> None:
        """Note how jobs ended."""
        self.outcomes.update((outcome.job, outcome) for outcome in outcomes)

    def write(self, path: Path, *, ended: bool = True) -> None:
        """Write what is known now, whole or not at all.

        Raises:
            RepsrError: the place cannot be written to, or is full.
        """
        # names of files may hold bytes that are no UTF-8: JSON's escapes (\\udc80 to \\udcff) carry them
        write_text(path, json.dumps(self._content(ended), indent=1, default=str) + "\n")

    def _content(self, ended: bool) -> dict[str, Any]:
        now = datetime.now(UTC)
        files = [_entry(job, self.outcomes.get(job)) for job in self.jobs]
        counts = dict.fromkeys(("done", "skipped", "failed", "open"), 0)
        for entry in files:
            counts[entry["status"]] += 1
        return {
            "format": FORMAT,
            "version": __version__,
            "command": self.command,
            "options": self.options,
            "started": self.started.isoformat(timespec="milliseconds"),
            "ended": now.isoformat(timespec="milliseconds") if ended else None,
            "interrupted": counts["open"] > 0,
            "model": self.model,
            "runtime": self.runtime,
            "precision": self.precision,
            "files": files,
            "errors": [*self.errors],
            "totals": {**counts, "seconds": round((now - self.started).total_seconds(), 3)},
            "stages": {
                name: {"busy_s": round(use.busy_s, 3), "workers": use.workers, "items": use.items}
                for name, use in self.stages.items()
            },
            "limiting": self.limiting,
        }


def _entry(job: Job, outcome: Outcome | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": str(job.source), "target": str(job.target), "status": "open", "error": None}
    if outcome is None:
        return {**entry, "size": None, "new_size": None, "seconds": None, "stages_s": {}}
    return {
        **entry,
        "status": outcome.status,
        "error": None if outcome.error is None else str(outcome.error),
        "size": _known(outcome.size),
        "new_size": _known(outcome.new_size),
        "seconds": round(outcome.seconds, 4),
        "stages_s": {name: round(seconds, 4) for name, seconds in outcome.stages_s.items()},
    }


def _known(size: tuple[int, int]) -> list[int] | None:
    return [*size] if all(size) else None
