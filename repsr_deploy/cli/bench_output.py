"""What the commands of `repsr-bench` print and write."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from repsr_deploy.bench import turns
    from repsr_deploy.bench.report import Report

PIPE_WIDTH = 240  # one line per row where the output is no terminal, for `grep` and logs


def show(report: Report, title: str, json_file: Path | None, markdown_file: Path | None) -> None:
    """Print a report, and write the files that are asked for."""
    from repsr_deploy.bench.report import write_report
    from repsr_deploy.bench.table import grid, markdown, rich_table
    from repsr_deploy.files import write_text

    console = open_console()
    table, left_out = rich_table(report.rows, title, console.width)
    console.print(table)
    if left_out:
        console.print(f"left out, as the terminal is narrow: {', '.join(left_out)}; --json and --markdown have them")
    for line in (*grid(report.rows, title).failures, *report.notes):
        console.print(line, markup=False)
    if json_file is not None:
        write_report(json_file, report)
        typer.echo(f"wrote {json_file}")
    if markdown_file is not None:
        write_text(markdown_file, markdown(report, title))
        typer.echo(f"wrote {markdown_file}")


def open_console() -> Console:
    """Standard output; lines are not broken."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Generator[turns.Progress]:
    """A bar on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, part: bar.update(task, description=escape(text), completed=part)
