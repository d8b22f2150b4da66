"""How the figures of this project's analyses look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from repsr_deploy.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Of Okabe and Ito's palette, which colour-blind people tell apart."""
SUBJECTS = ((BLUE, "o"), (VERMILION, "s"))
"""Colour and marker of the first and the second network."""
GRAY = "#767676"
DPI = 200
SMALL, NORMAL = 7.5, 9
"""Points: within and around axes."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sides in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def tidy(axes: Axes, *, title: str, x: str, y: str) -> None:
    """Labels, and no more lines than needed."""
    axes.set_title(title, fontsize=NORMAL, loc="left")
    axes.set_xlabel(x, fontsize=NORMAL)
    axes.set_ylabel(y, fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all.

    Raises:
        RepsrError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
