"""The plot of `repsr-bench cpu`: milliseconds for a picture of the first model, a panel for each size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repsr_deploy.bench.cpu.contestants import NATIVE
from repsr_deploy.bench.machine import hardware
from repsr_deploy.bench.plot import DPI, GRAY, MOST_PANELS, RUNTIMES, tidy
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.errors import UsageError
from repsr_deploy.files import atomic_path
from repsr_kernels.cpu.instruction_sets import PRECISIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIXED = {"openvino, fixed size": ("OpenVINO for one size", "#7BC8B0")}
"""Rows that no other bench has: name and colour."""
LOOKS = RUNTIMES | FIXED
SUBTITLE = "8-bit picture to 8-bit picture, outputs verified in the same run; shorter is better"
SHOWN_ALONE = "avx2"
"""An instruction set that stands beside the best one: most processors have no more."""
PANEL_INCHES, LABEL_INCHES, BAR_INCHES = 2.35, 1.6, 0.25
GAP = 0.6
"""Between the bars of two runtimes, in bars."""
ROOM = 1.5
"""From the longest bar to the edge, for its number."""
LONGEST = 16.0
"""Bars are cut off at so many times the shortest one, or nobody could see that one."""


def draw_report(path: Path, report: Report) -> None:
    """Write a PNG: a bar for each runtime and precision with all threads, the engine's on top.

    Raises:
        UsageError: no row has a speed.
        RepsrError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = drawn(report.rows, str(report.machine["threads"]))
    if not rows:
        raise UsageError("no row has a speed, so there is nothing to draw; see the failures in the table")
    sizes = list(dict.fromkeys(size for _, size in rows))[:MOST_PANELS]
    bars = sorted({bar for bar, _ in rows}, key=_order)
    places = _places(bars)
    size = LABEL_INCHES + PANEL_INCHES * len(sizes), 1.2 + BAR_INCHES * (max(places) + 1)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    for column, (axes, shape) in enumerate(zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True)):
        _draw_bars(axes, [rows.get((bar, shape)) for bar in bars], places)
        axes.set_yticks(places, [_label(bar) for bar in bars] if column == 0 else [])
        axes.set_title(f"{shape} input", fontsize=9)
    model = report.rows[0].key["model"]
    figure.suptitle(f"{model} on {hardware(report.machine)}\n{SUBTITLE}", fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


Bar = tuple[str, str, str]
"""Runtime, precision, and instruction set where it is not the best one."""


def drawn(rows: Sequence[Row], threads: str) -> dict[tuple[Bar, str], Row]:
    """Rows of the first model by bar and size: of the engine the fastest in a precision, and that by AVX2 in fp32."""
    found: dict[tuple[Bar, str], Row] = {}
    for row in rows:
        key = row.key
        if row.timing is None or key["model"] != rows[0].key["model"] or key["threads"] != threads:
            continue
        if key["way"].endswith("alone") or key["runtime"] not in LOOKS:
            continue
        names = [""]
        if key["runtime"] == NATIVE and (key["instructions"], key["computes"]) == (SHOWN_ALONE, "fp32"):
            names.append(SHOWN_ALONE)
        for name in names:
            place = (key["runtime"], key["computes"], name), key["input"]
            if place not in found or _median_ms(row) < _median_ms(found[place]):
                found[place] = row
    best = {place: row for place, row in found.items() if not place[0][2]}
    return {place: row for place, row in found.items() if not place[0][2] or row not in best.values()}


def _draw_bars(axes: Axes, rows: Sequence[Row | None], places: Sequence[float]) -> None:
    """A bar for each row from the top, as long as its median, with the middle half of its runs."""
    medians_ms = [_median_ms(row) for row in rows if row]
    end_ms = min(max(medians_ms, default=1.0), LONGEST * min(medians_ms, default=1.0))
    for place, row in zip(places, rows, strict=True):
        if row is None or row.timing is None:
            axes.annotate("no speed", (0, place), (4, 0), textcoords="offset points", va="center", fontsize=7)
            continue
        median_ms = _median_ms(row)
        axes.barh(place, min(median_ms, end_ms), height=0.8, color=LOOKS[row.key["runtime"]][1])
        low, high = (min(1e3 * time_s, end_ms) for time_s in row.timing.quartiles_s)
        axes.plot([low, high], [place, place], color=GRAY, linewidth=1.2, solid_capstyle="butt")
        number = f"{median_ms:,.1f}" if median_ms < 100 else f"{median_ms:,.0f}"
        axes.annotate(
            number if median_ms <= end_ms else f"{number}, cut off",
            (max(min(median_ms, end_ms), high), place), (4, 0), textcoords="offset points", va="center", fontsize=8,
            fontweight="bold" if row.key["runtime"] == NATIVE else "normal",
        )  # fmt: skip
    axes.set(xlim=(0, ROOM * end_ms), ylim=(max(places) + 0.6, -0.6), xlabel="ms")
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    tidy(axes)


def _places(bars: Sequence[Bar]) -> list[float]:
    """Heights of the bars, runtimes apart."""
    runtimes = list(dict.fromkeys(bar[0] for bar in bars))
    return [index + GAP * runtimes.index(bar[0]) for index, bar in enumerate(bars)]


def _order(bar: Bar) -> tuple[int, int, str]:
    runtime, precision, name = bar
    ranks: Mapping[str, int] = {other: rank for rank, other in enumerate(LOOKS)}
    shortest_first = [*reversed(PRECISIONS)]
    return ranks[runtime], [str(one) for one in shortest_first].index(precision), name


def _label(bar: Bar) -> str:
    runtime, precision, name = bar
    return f"{LOOKS[runtime][0]} {precision}" + (f", {name.upper()}" if name else "")


def _median_ms(row: Row) -> float:
    assert row.timing is not None
    return 1e3 * row.timing.median_s
