"""The plots of a study: every seed and the mean of every variant, and validation over the steps."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repsr_deploy.files import atomic_path
from repsr_train.study.catalogue import Weights
from repsr_train.study.report import NAMES
from repsr_train.study.results import StudyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito's palette, told apart with any colour vision."""
GRAY = "#666666"
COLUMNS = 4
PANEL_INCHES, ROW_INCHES = 2.9, 0.36
"""Width of a panel, and height of a variant in it."""
DPI = 160


def draw_study(path: Path, result: StudyResult) -> None:
    """Write a PNG: a panel for each condition and kind of weights, below them validation PSNR if there was any.

    Raises:
        RepsrError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    panels: list[tuple[Weights, str]] = [
        (weights, condition) for weights in result.study.weights for condition in result.pictures
    ]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    panel_height = 1.1 + ROW_INCHES * len(result.study.variants)
    heights = [panel_height] * rows + ([3.2] if _validated(result) else [])
    width = max(7.0, PANEL_INCHES * columns + 1.6)
    figure = Figure(figsize=(width, sum(heights) + 0.5), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for index, (weights, condition) in enumerate(panels):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        _draw_points(axes, result, weights, condition, named=index % columns == 0)
    if _validated(result):
        _draw_validation(figure.add_subplot(grid[rows, :]), result)
    seeds = f"{len(result.seeds)} seed{'s' if len(result.seeds) > 1 else ''}"
    figure.suptitle(f"{result.study.title}\n{result.steps:,} steps, {seeds}", fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw_points(axes: Axes, result: StudyResult, weights: Weights, condition: str, *, named: bool) -> None:
    """A row for each variant, the first on top: a dot for each seed, a bar at the mean, a line over the spread."""
    measure = result.study.measures[0]
    name, unit, _ = NAMES[measure]
    variants = result.study.variants
    for row, variant in enumerate(variants):
        values = result.values(variant, weights, condition, measure)
        colour, mean = COLOURS[row % len(COLOURS)], statistics.fmean(values)
        if len(values) > 1:
            deviation = statistics.stdev(values)
            axes.plot([mean - deviation, mean + deviation], [row, row], color=colour, linewidth=2, alpha=0.35)
        axes.plot(values, [row] * len(values), "o", color=colour, markersize=4, alpha=0.8, markeredgewidth=0)
        axes.plot([mean], [row], "|", color=colour, markersize=14, markeredgewidth=2)
        axes.annotate(f"{mean:.2f}", (mean, row), (0, 8), textcoords="offset points", ha="center", fontsize=7)
    axes.set_yticks(range(len(variants)), [variant.label for variant in variants] if named else [])
    axes.set(ylim=(len(variants) - 0.5, -0.8), xlabel=f"{name}, {unit}")
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=4)
    kind = f", {weights} weights" if len(result.study.weights) > 1 else ""
    axes.set_title(f"{condition}{kind}", fontsize=9)
    _tidy(axes)


def _draw_validation(axes: Axes, result: StudyResult) -> None:
    """A line for the mean of each variant, a band from its lowest to its highest seed."""
    ends: list[float] = []
    for row, variant in enumerate(result.study.variants):
        curves = [run.validation for run in result.of(variant)]
        steps = [step for step, _ in curves[0]]
        scores: Any = np.array([[psnr for _, psnr in curve] for curve in curves])
        colour = COLOURS[row % len(COLOURS)]
        axes.plot(steps, scores.mean(axis=0), color=colour, marker=".", linewidth=1.2, label=variant.label)
        axes.fill_between(steps, scores.min(axis=0), scores.max(axis=0), color=colour, alpha=0.15, linewidth=0)
        ends += scores[:, len(steps) // 3 :].ravel().tolist()
    low, high = min(ends), max(ends)
    axes.set_ylim(low - 0.1 * (high - low) - 0.01, high + 0.1 * (high - low) + 0.01)  # the start would flatten the rest
    axes.set(xlabel="step", ylabel="validation PSNR-Y, dB", title="Averaged weights on the validation photographs")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _validated(result: StudyResult) -> bool:
    return all(run.validation for run in result.runs)
