"""A report as a table for people: in the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repsr_deploy.bench.compare import Comparison
from repsr_deploy.bench.machine import hardware
from repsr_deploy.bench.report import FIGURES, TIMES, Report, Row

NONE = "-"
"""What a cell says when there is no such number."""
MS_DIGITS = ((10.0, 1), (1.0, 2), (0.0, 3))
"""From so many milliseconds on, so many digits behind the point: three that count."""
SPREAD = "spread: the middle half of the runs, as a fraction of the median"
LEFT_OUT = ("images/s", "p99", "GMAC/s", "spread", "runs", "p95", "of peak", "MiB")
"""Columns that a narrow terminal does without, the first of these first."""


@dataclass(frozen=True)
class Grid:
    """Texts of a table. What all rows have in common is in the title instead."""

    title: str
    headings: list[str]
    words: int
    """So many columns at the left are words, the others numbers."""
    rows: list[list[str]]
    failures: list[str]
    """Why rows have no speed, one line each."""


def grid(rows: Sequence[Row], title: str) -> Grid:
    """The table of some rows; columns that no row fills are left out."""
    names = list(dict.fromkeys(name for row in rows for name in row.key))
    values = {name: {row.key.get(name, "") for row in rows} for name in names}
    shared = [name for name in names if len(rows) > 1 and len(values[name]) == 1]
    words = [name for name in names if name not in shared]
    figures = [name for name in FIGURES if any(row.figures.get(name) is not None for row in rows)]
    common = ", ".join(_named(name, rows[0].key[name]) for name in shared if rows[0].key[name])
    return Grid(
        title=f"{title}: {common}" if common else title,
        headings=[*words, *TIMES, *(FIGURES[name].heading for name in figures)],
        words=len(words),
        rows=[
            [*(row.key.get(name, "") for name in words), *_times(row), *(_figure(row, name) for name in figures)]
            for row in rows
        ],
        failures=[f"no speed: {row.name}: {row.failure}" for row in rows if row.failure],
    )


def rich_table(rows: Sequence[Row], title: str, width: int) -> tuple[Table, list[str]]:
    """For a terminal of that width, in characters: the table, and the columns that had to be left out.

    A number is never cut: what does not fit in the end is wrapped by the terminal.
    """
    texts = grid(rows, title)
    left_out: list[str] = []
    table = _rich(texts, left_out)
    for heading in LEFT_OUT:
        if _natural_width(table) <= width:
            break
        if heading in texts.headings:
            left_out.append(heading)
            table = _rich(texts, left_out)
    return table, left_out


def _rich(texts: Grid, left_out: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=Text(texts.title), title_justify="left", title_style="bold")
    kept = [index for index, heading in enumerate(texts.headings) if heading not in left_out]
    for index in kept:
        justify = "right" if index >= texts.words else "left"
        table.add_column(texts.headings[index].replace(" ", "\n"), justify=justify, no_wrap=True)
    for cells in texts.rows:
        table.add_row(*(Text(cells[index]) for index in kept))
    table.width = _natural_width(table)
    return table


def _natural_width(table: Table) -> int:
    """Characters of the widest line when nothing is cut."""
    console = Console(width=10_000)
    return max(map(len, "".join(segment.text for segment in console.render(table)).splitlines()), default=0)


def comparison_table(comparison: Comparison) -> Table:
    """Medians of two reports and what became of them, for the terminal."""
    names = list(dict.fromkeys(name for change in comparison.changes for name in change.key))
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, overflow="fold")
    for heading in ("A ms", "B ms", "B / A", "interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for change in comparison.changes:
        numbers = (f"{change.before_s * 1e3:,.1f}", f"{change.after_s * 1e3:,.1f}", f"{change.ratio:.3f}")
        interval = f"{change.low:.3f} to {change.high:.3f}"
        style = {"faster": "green", "slower": "red", "same": ""}[change.verdict]
        table.add_row(
            *(Text(change.key.get(name, "")) for name in names), *numbers, interval, change.verdict, style=style
        )
    return table


def markdown(report: Report, title: str) -> str:
    """A whole document: what was run, on what, the table, what its columns mean, and what could not be measured."""
    texts = grid(report.rows, title)
    machine = report.machine
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    used = {FIGURES[name].heading: FIGURES[name].meaning for name in FIGURES}
    return "\n".join(
        [
            f"# {texts.title}",
            "",
            f"`{report.arguments}`",
            "",
            f"{hardware(machine)}; {machine['platform']}; repsr-deploy {machine['version']}, "
            f"Python {machine['python']}, {packages}; {report.created}.",
            "",
            _line(texts.headings),
            _line(["---"] * texts.words + ["---:"] * (len(texts.headings) - texts.words)),
            *map(_line, texts.rows),
            "",
            f"- {SPREAD}",
            *(f"- {heading}: {used[heading]}" for heading in texts.headings if heading in used),
            "",
            *(f"- {line}" for line in (*texts.failures, *report.notes)),
            *([""] if texts.failures or report.notes else []),
        ]
    )


def _times(row: Row) -> list[str]:
    if row.timing is None:
        return ["failed", *[NONE] * (len(TIMES) - 1)]
    timing = row.timing
    times_ms = [value * 1e3 for value in (timing.median_s, timing.percentile_s(95), timing.percentile_s(99))]
    digits = next((digits for least, digits in MS_DIGITS if times_ms[0] >= least), MS_DIGITS[-1][1])
    return [*(f"{value:,.{digits}f}" for value in times_ms), f"{timing.spread:.0%}", str(len(timing.times_s))]


def _figure(row: Row, name: str) -> str:
    value = row.figures.get(name)
    return NONE if value is None else format(value * FIGURES[name].factor, FIGURES[name].form)


def _named(name: str, text: str) -> str:
    """`batch 4`, but `640x360` where the text itself says what it is."""
    return f"{name} {text}" if name in ("batch", "file", "computes") else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
