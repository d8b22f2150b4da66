"""What a check asks for and what it found: printed, kept as JSON, written as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from repsr_deploy.bench.machine import hardware, warning
from repsr_deploy.files import write_text

SCHEMA = "repsr-serve-check-1"
SHOWN = 8
"""Complaints that are printed; the JSON file has all."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing that must hold."""

    what: str
    found: str
    """The figure, with its unit."""
    wanted: str
    """The bound, with its unit."""
    passed: bool
    complaints: Sequence[str] = ()
    """What was wrong, one line each."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one check found."""

    check: str
    about: str
    """A sentence: what was done."""
    requirements: Sequence[Requirement]
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other numbers, name with unit -> value."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the service, and of the check."""
    raw: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Every single measurement; only in the JSON file."""

    @property
    def passed(self) -> bool:
        """Whether everything holds, and something was asked."""
        return bool(self.requirements) and all(one.passed for one in self.requirements)


def at_most(what: str, value: float, bound: float, unit: str = "") -> Requirement:
    """A figure with an upper bound; NaN does not hold."""
    return Requirement(what=what, found=_number(value, unit), wanted=f"≤ {_number(bound, unit)}", passed=value <= bound)


def at_least(what: str, value: float, bound: float, unit: str = "") -> Requirement:
    """A figure with a lower bound; NaN does not hold."""
    return Requirement(what=what, found=_number(value, unit), wanted=f"≥ {_number(bound, unit)}", passed=value >= bound)


def equal(what: str, value: object, expected: object) -> Requirement:
    """Something that must be one certain value."""
    return Requirement(what=what, found=str(value), wanted=str(expected), passed=value == expected)


def none_of(what: str, complaints: Sequence[str], of: int | None = None) -> Requirement:
    """Something that must never happen; `of` so many that could have: among none at all nothing is proved."""
    found = str(len(complaints)) if of is None else f"{len(complaints)} of {of}"
    passed = not complaints and of != 0
    return Requirement(what=what, found=found, wanted="0", passed=passed, complaints=tuple(complaints))


def said(findings: Findings) -> str:
    """For a terminal."""
    lines = [f"== {findings.check}: {'passed' if findings.passed else 'FAILED'}: {findings.about}"]
    for one in findings.requirements:
        lines.append(f"  {'pass' if one.passed else 'FAIL'}  {one.what}: {one.found} (wanted: {one.wanted})")
        lines += [f"        {line}" for line in one.complaints[:SHOWN]]
        if len(one.complaints) > SHOWN:
            lines.append(f"        and {len(one.complaints) - SHOWN} more")
    lines += [f"        {name}: {_value(value)}" for name, value in findings.figures.items()]
    return "\n".join(lines)


def write(findings: Findings, folder: Path, *, command: str, created: str, machine: Mapping[str, Any]) -> None:
    """`serve-CHECK.json` and `serve-CHECK.md`."""
    content = {"schema": SCHEMA, "command": command, "created": created, "machine": machine, **asdict(findings)}
    content["passed"] = findings.passed
    content["figures"] = _finite(findings.figures)
    stem = folder / f"serve-{findings.check}"
    write_text(stem.with_suffix(".json"), json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(stem.with_suffix(".md"), _markdown(findings, command, created, machine))


def _markdown(findings: Findings, command: str, created: str, machine: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    lines = [
        f"## {findings.check}: {'passed' if findings.passed else 'failed'}",
        "",
        findings.about,
        "",
        f"`{command}`",
        "",
        f"{hardware(machine)}; {machine['platform']}; repsr-deploy {machine['version']}, Python {machine['python']}, "
        f"{packages}; {created}.",
        *warning(machine),
        "",
        "| requirement | found | wanted | |",
        "| --- | ---: | ---: | --- |",
        *(
            f"| {r.what} | {r.found} | {r.wanted} | {'pass' if r.passed else '**fail**'} |"
            for r in findings.requirements
        ),
        "",
        *(f"- {name}: {_value(value)}" for name, value in findings.figures.items()),
        f"- settings: {', '.join(f'{name} {value}' for name, value in findings.settings.items())}",
    ]
    return "\n".join([*lines, ""])


def _finite(value: Any) -> Any:
    """Without what JSON does not have: NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def _value(value: Any) -> str:
    if isinstance(value, float):
        return _number(value, "")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    return str(value)
