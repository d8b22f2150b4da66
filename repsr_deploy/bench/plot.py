"""The plot of a throughput report: quality against speed where quality was measured, and speed by runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.bench.machine import hardware
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.errors import UsageError
from repsr_deploy.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RUNTIMES = {
    "native": ("native engine", "#882255"),
    "onnxruntime": ("ONNX Runtime", "#0072B2"),
    "openvino": ("OpenVINO", "#009E73"),
    "pytorch": ("PyTorch", "#D55E00"),
    "pytorch-channels-last": ("PyTorch channels-last", "#E69F00"),
    "tensorrt": ("TensorRT", "#CC79A7"),
    "tensorrt-rtx": ("TensorRT-RTX", "#56B4E9"),
    "onnxruntime-cuda": ("ONNX Runtime CUDA", "#000000"),
    "onnxruntime-tensorrt": ("ONNX Runtime TensorRT", "#F0E442"),
    "onnxruntime-tensorrt-rtx": ("ONNX Runtime TensorRT-RTX", "#999999"),
}
"""Name and colour: Okabe and Ito's palette, told apart with any colour vision, Tol's wine, and a gray."""
MARKERS = {"fp32": "o", "fp16": "^", "bf16": "s", "int8": "D"}
GRAY = "#555555"
SUBTITLE = "every output verified against fp32 in the same run; gray lines hold the middle half of the runs"
DPI = 160
MOST_PANELS = 3
"""Shapes and batches that are drawn beside each other, the first ones."""
PANEL_INCHES, LABEL_INCHES, BAR_INCHES = 3.1, 2.1, 0.27

Condition = tuple[str, str]
"""Input and batch of a row's key."""


def draw_report(path: Path, report: Report) -> None:
    """Write a PNG: for each model a line of panels, PSNR-Y against speed first where it is known, then speed bars.

    Raises:
        UsageError: no row has a speed.
        RepsrError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    rows = [row for row in report.rows if row.timing is not None]
    if not rows:
        raise UsageError("no row has a speed, so there is nothing to draw; see the failures in the table")
    models = list(dict.fromkeys(row.key["model"] for row in rows))
    conditions = list(dict.fromkeys(map(_condition, rows)))[:MOST_PANELS]
    scored = any(row.figures.get("psnr_y_db") is not None for row in rows)
    lines = [_line_of(rows, model, conditions) for model in models]
    heights = [0.75 + BAR_INCHES * max(len(names), 6 if scored else 1) for names in lines]
    widths = [PANEL_INCHES + 0.5] * scored + [PANEL_INCHES] * len(conditions)
    footer = 0.75 if scored else 0.1
    size = sum(widths) + LABEL_INCHES, sum(heights) + footer + 0.5
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, rect=(0, footer / size[1], 1, 1 - footer / size[1]))  # type: ignore[union-attr]
    grid = figure.add_gridspec(len(models), len(widths), height_ratios=heights, width_ratios=widths)
    for line, (model, names) in enumerate(zip(models, lines, strict=True)):
        of_model = [row for row in rows if row.key["model"] == model]
        if scored:
            axes = figure.add_subplot(grid[line, 0])
            _draw_quality(axes, [row for row in of_model if _condition(row) == conditions[0]])
            axes.set_title(f"{model}, {_said(conditions[0])}", fontsize=9)
            axes.set_ylabel(f"PSNR-Y, dB, on {report.settings['hr']}", fontsize=8)
        for column, condition in enumerate(conditions):
            axes = figure.add_subplot(grid[line, column + scored])
            found = {_name(row): row for row in of_model if _condition(row) == condition}
            _draw_bars(axes, [found.get(name) for name in names])
            axes.set_yticks(range(len(names)), names if column == 0 else [])
            axes.set_title(f"{model}, {_said(condition)}", fontsize=9)
    if scored:
        _draw_legend(figure, rows)
    figure.suptitle(f"Upscaling speed on {hardware(report.machine)}\n{SUBTITLE}", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_bars(axes: Axes, rows: Sequence[Row | None]) -> None:
    """A bar for each row from the top, as long as its megapixels a second, with the middle half of its runs."""
    longest = max((_speed(row) for row in rows if row), default=1.0)
    for place, row in enumerate(rows):
        if row is None or row.timing is None:
            axes.annotate("no speed", (0, place), (4, 0), textcoords="offset points", va="center", fontsize=7)
            continue
        speed, branches = _speed(row), row.key["network"] == "branches"
        colour = RUNTIMES[row.key["runtime"]][1]
        axes.barh(place, speed, height=0.72, color="white" if branches else colour, edgecolor=colour, linewidth=1.2)
        low, high = (speed * row.timing.median_s / time_s for time_s in reversed(row.timing.quartiles_s))
        axes.plot([low, high], [place, place], color=GRAY, linewidth=1.2, solid_capstyle="butt")
        text = f"{speed:,.1f}  ({row.timing.median_s * 1e3:,.1f} ms)"
        axes.annotate(text, (max(speed, high), place), (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set(xlim=(0, 1.45 * longest), ylim=(len(rows) - 0.4, -0.6), xlabel="megapixels of output a second")
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    tidy(axes)


def _draw_quality(axes: Axes, rows: Sequence[Row]) -> None:
    """A point for each row: to the right is faster, up is nearer to the HR pictures."""
    heights: list[float] = []
    for row in rows:
        psnr = row.figures.get("psnr_y_db")
        if psnr is None:
            continue
        heights.append(psnr)
        colour = RUNTIMES[row.key["runtime"]][1]
        fill = "none" if row.key["network"] == "branches" else colour
        axes.plot(
            _speed(row), psnr, MARKERS[row.key["computes"]],
            markersize=8, markerfacecolor=fill, markeredgecolor=colour, markeredgewidth=1.5, alpha=0.85,
        )  # fmt: skip
    if heights:
        reach = max(0.02, 0.15 * (max(heights) - min(heights)))
        axes.set_ylim(min(heights) - reach, max(heights) + reach)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("megapixels of output a second")
    axes.grid(alpha=0.25)
    tidy(axes)


def _draw_legend(figure: Figure, rows: Sequence[Row]) -> None:
    """What colours and markers mean, once below all panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    precisions, runtimes = ({row.key[name] for row in rows} for name in ("computes", "runtime"))
    handles: list[Any] = [
        Patch(color=colour, label=label) for name, (label, colour) in RUNTIMES.items() if name in runtimes
    ]
    handles += [
        Line2D([], [], marker=marker, color=GRAY, linestyle="", markersize=7, label=f"computes in {name}")
        for name, marker in MARKERS.items()
        if name in precisions
    ]
    if any(row.key["network"] == "branches" for row in rows):
        handles.append(Patch(facecolor="white", edgecolor=GRAY, label="hollow: with branches, not folded"))
    figure.legend(handles=handles, loc="lower center", ncols=min(5, len(handles)), fontsize=8, frameon=False)


def _line_of(rows: Sequence[Row], model: str, conditions: Sequence[Condition]) -> list[str]:
    """Names of a model's bars, the fastest of the first shape on top."""
    speeds: dict[str, float] = {}
    for condition in conditions:
        for row in rows:
            if row.key["model"] == model and _condition(row) == condition:
                speeds.setdefault(_name(row), _speed(row))
    return sorted(speeds, key=lambda name: -speeds[name])


def _name(row: Row) -> str:
    key = row.key
    precision = key["computes"]
    if key["file"] != "fp32":
        precision = f"{key['file']} file" + (f" in {key['computes']}" if key["computes"] != key["file"] else "")
    name = f"{RUNTIMES[key['runtime']][0]} {precision}"
    return f"{name}, branches" if key["network"] == "branches" else name


def _condition(row: Row) -> Condition:
    return row.key["input"], row.key["batch"]


def _said(condition: Condition) -> str:
    shape, batch = condition
    return f"{shape} input" + (f", batch {batch}" if batch != "1" else "")


def _speed(row: Row) -> float:
    return row.figures["megapixels_per_s"] or 0.0


def tidy(axes: Axes) -> None:
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(8)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
