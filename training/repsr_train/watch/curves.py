"""curves.png: loss, PSNR and learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.files import atomic_path
from repsr_train.watch.metrics import Row

SMALL: dict[str, Any] = {"fontsize": 8}
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#666666"
"""Of Okabe and Ito's palette, told apart with any colour vision."""


def draw_curves(path: Path, rows: Sequence[Row], title: str, switch_step: int) -> None:
    """Draw the metrics of a run as PNG.

    Args:
        path: file to write.
        rows: of metrics.jsonl, at least one.
        title: what was trained.
        switch_step: where BatchNorm changed to population statistics; 0 or beyond the last row: not shown.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    validated = [row for row in rows if "psnr_y" in row]
    panels = ["loss", "psnr", "lr"] if validated else ["loss", "lr"]
    height = 2.1 * len(panels) + 0.9
    figure = Figure(figsize=(7, height), dpi=120)
    figure.subplots_adjust(left=0.13, right=0.97, top=1 - 0.5 / height, bottom=0.5 / height, hspace=0.25)
    axes = dict(zip(panels, figure.subplots(len(panels), sharex=True), strict=True))
    _draw_loss(axes["loss"], rows)
    if validated:
        _draw_psnr(axes["psnr"], validated)
    axes["lr"].plot([row["step"] for row in rows], [row["lr"] for row in rows], color=GRAY)
    axes["lr"].set(ylabel="learning rate", xlabel="step")
    for axis in axes.values():
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        if 0 < switch_step < rows[-1]["step"]:
            axis.axvline(switch_step, color=GRAY, linestyle=":", linewidth=1)
    if 0 < switch_step < rows[-1]["step"]:
        where = (switch_step, 1.0)
        axes["loss"].annotate(" population statistics", where, xycoords=_above(axes["loss"]), va="top", **SMALL)
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _draw_loss(axis: Any, rows: Sequence[Row]) -> None:
    """Limits that one spike, or the first steps, do not stretch."""
    counted = [row for row in rows if row["loss"] is not None]
    losses = np.array([row["loss"] for row in counted])
    axis.plot([row["step"] for row in counted], losses, color=BLUE, linewidth=1)
    if counted:
        margin = 0.1 * (np.percentile(losses, 98) - losses.min()) or 0.1 * losses.min()
        axis.set_ylim(losses.min() - margin, np.percentile(losses, 98) + margin)
    skipped = [step for row in rows for step in row.get("skipped", ())]
    if skipped:
        axis.plot(skipped, [1.0] * len(skipped), "v", color=ORANGE, transform=_above(axis), clip_on=False)
        axis.set_title(f"{len(skipped)} steps skipped", loc="right", color=ORANGE, **SMALL)
    axis.set_ylabel("loss")


def _draw_psnr(axis: Any, validated: Sequence[Row]) -> None:
    best = max(validated, key=lambda row: row["psnr_y"])
    axis.plot([row["step"] for row in validated], [row["psnr_y"] for row in validated], color=GREEN, marker=".")
    axis.plot(best["step"], best["psnr_y"], "o", color=ORANGE)
    axis.set_title(f"best {best['psnr_y']:.2f} dB at step {best['step']:,}", loc="right", color=ORANGE, **SMALL)
    axis.set_ylabel("PSNR-Y, dB")


def _above(axis: Any) -> Any:
    """Coordinates for marks at the upper edge: steps to the right, the height of the panel upwards."""
    return axis.get_xaxis_transform()
