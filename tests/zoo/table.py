"""`python -m tests.zoo.table`, which `scripts/folding` runs: what folding does to every network, as a table."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from repsr_deploy.bench.machine import describe_machine
from repsr_deploy.cli.errors import run
from repsr_deploy.errors import UsageError
from repsr_deploy.files import write_text
from tests.zoo.table_rows import SIDES, UNCHANGED, Row, measure
from tests.zoo.table_sources import Source, sources

PACKAGES = ("torch", "onnx", "onnx-ir", "onnxruntime", "spandrel")
COLUMNS = {
    "network": "",
    "nodes": "nodes of the graph before → after, once constants are computed and `Identity` and dropout removed",
    "parameters": "floating numbers stored in the graph",
    "MACs": "multiply-adds of convolutions and matrix products for each pixel of the input",
    "faster": "time before / time after in ONNX Runtime on the CPU, 1 thread, in turns in one process: the median of "
    f"the ratios of the rounds. The image is {SIDES[0][1]}x{SIDES[0][0]}, or (*) {SIDES[1][1]}x{SIDES[1][0]}, or (**) "
    f"{SIDES[2][1]}x{SIDES[2][0]}. ONNX Runtime merges by itself what it can, in both",
    "noise": "the same ratio of two sessions of the graph before: how far from 1 chance alone leads",
    "ms": "median time after folding",
    "interior": "largest error in float64, as a fraction of the output's range, on noise and a natural image of odd "
    "sizes",
    "border": "the same where the receptive field reaches over the edge, or 32 pixels from the edge if it is wider or "
    "unknown",
    "stored": "the same of the file that is written, in float32 in ONNX Runtime against float64 before folding",
    "read s": "time for reading the graph into canonical form",
    "fold s": "time for planning and writing the fold",
    "prove s": "the rest of `repsr-fuse export`: the proof, and the files",
    "kept": "sites left as they were, listed below with their reasons",
}
"""Heading -> what it means."""

app = typer.Typer(add_completion=False)


@app.command()
def table(
    out: Annotated[Path | None, typer.Option("--json", help="Also write all figures as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table to this file instead of the screen.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the network of this name; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Seconds of timing for each network.")] = 2.0,
) -> None:
    """Fold every network that the project knows, prove it, time it, and say what was kept and why."""
    torch.set_num_threads(1)
    chosen = _chosen(sources(), only or ())
    progress = Console(stderr=True, highlight=False)
    rows: list[Row] = []
    for name, source in chosen.items():
        progress.print(name, markup=False)
        with tempfile.TemporaryDirectory() as scratch:
            graph = Path(scratch, "source.onnx")
            source.write(graph)
            rows.append(measure(name, source.group, graph, Path(scratch), seconds))
    made_by = {
        "command": shlex.join(["scripts/folding", *sys.argv[1:]]),
        "packages": {package: version(package) for package in PACKAGES},
        "machine": describe_machine(threads=1),
    }
    text = render(rows, made_by)
    if markdown is None:
        typer.echo(text)
    else:
        write_text(markdown, text)
    if out is not None:
        write_text(out, json.dumps({**made_by, "rows": [row.to_dict() for row in rows]}, indent=2) + "\n")


def _chosen(every: dict[str, Source], only: Sequence[str]) -> dict[str, Source]:
    unknown = [name for name in only if name not in every]
    if unknown:
        raise UsageError(f"--only {unknown[0]}; expected one of: {'; '.join(every)}")
    return {name: source for name, source in every.items() if not only or name in only}


def render(rows: Sequence[Row], made_by: dict[str, Any]) -> str:
    """The whole document, Markdown."""
    machine, packages = made_by["machine"], made_by["packages"]
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    groups = list(dict.fromkeys(row.group for row in rows))
    slow = [f"- {row.name} ({row.speed_ratio:.2f}): {row.slow_reason}" for row in rows if row.slow_reason]
    kept = [line for row in rows if row.kept for line in (f"- {row.name}", *_kept_lines(row))]
    return "\n".join(
        [
            "# What folding does to networks",
            "",
            f"`{made_by['command']}`",
            "",
            f"repsr-deploy {machine['version']}, {versions}, Python {machine['python']}; {machine['processor']}, "
            f"{machine['cores']} cores, {machine['platform']}; 1 thread.",
            "",
            *(f"- **{heading}**: {meaning}" for heading, meaning in COLUMNS.items() if meaning),
            "",
            f"Random weights have random statistics, biases and slopes, which hide no mistake. {_noise(rows)}",
            *(line for group in groups for line in ("", f"## {group}", "", *_table(rows, group))),
            *(("", f"## Less than {UNCHANGED - 1:.0%} faster, and why", "", *slow) if slow else ()),
            *(("", "## Kept, and why", "", *kept) if kept else ()),
            "",
        ]
    )


def _noise(rows: Sequence[Row]) -> str:
    same = [row.noise_ratio for row in rows] + [row.speed_ratio for row in rows if row.is_unchanged]
    return (
        f"Two sessions of the same graph differed by ratios of {min(same):.2f} to {max(same):.2f} ({len(same)} pairs): "
        "speed ratios within that say nothing."
    )


def _table(rows: Sequence[Row], group: str) -> list[str]:
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) - 1)}"]
    return lines + [f"| {' | '.join(_cells(row))} |" for row in rows if row.group == group]


def _cells(row: Row) -> list[str]:
    before, after = row.before, row.after
    times = sorted(row.times_s["after"])
    return [
        row.name,
        f"{before.nodes:,} → {after.nodes:,}",
        f"{before.parameters:,} → {after.parameters:,}",
        f"{before.macs_per_lr_pixel:,.0f} → {after.macs_per_lr_pixel:,.0f}",
        f"{row.speed_ratio:.2f}{'*' * SIDES.index(row.sides)}",
        f"{row.noise_ratio:.2f}",
        f"{times[len(times) // 2] * 1e3:.1f}",
        *(f"{error:.0e}" if error else "0" for error in (row.error_interior, row.error_border, row.error_stored)),
        *(f"{seconds:.2f}" for seconds in (row.read_s, row.fold_s, row.prove_s)),
        str(sum(row.kept.values())),
    ]


def _kept_lines(row: Row) -> list[str]:
    return [f"  - {count} of {_short(text)}" for text, count in row.kept.items()]


def _short(text: str, length: int = 160) -> str:
    """At most so long, cut in the middle: the end is the reason."""
    if len(text) <= length:
        return text
    return f"{text[: length // 3]} … {text[-(length - length // 3 - 3) :]}"


if __name__ == "__main__":
    raise SystemExit(run(app, "folding"))
