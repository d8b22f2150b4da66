"""Picture of deep degradation representations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsr_train.analysis.figure import BLUE, GREEN, NORMAL, PURPLE, SMALL, VERMILION, new_figure, save, tidy
from repsr_train.analysis.representation import Representation
from repsr_train.degradations.eight import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Mapping[str, str] = {"clean": BLUE, "noise": VERMILION, "jpeg": GREEN, "noise+jpeg": PURPLE}
"""By what was done after the reduction; the marker tells whether the photograph was blurred before it."""


def draw_representation(path: Path, found: Representation, title: str) -> None:
    """Write the photographs as points of their first two principal components and of t-SNE, with both indices.

    Raises:
        RepsrError: the file cannot be written.
    """
    figure = new_figure(8.4, 3.9)
    left, right = figure.subplots(1, 2)
    embedding = found.embedding
    for axes, points in ((left, embedding.principal), (right, embedding.tsne)):
        _scatter(axes, points, found)
    shares = 100 * embedding.explained
    tidy(
        left,
        title=f"2 of {len(shares)} principal components\nCHI of all {len(shares)}: {embedding.chi_principal:.3g}",
        x=f"component 1 ({shares[0]:.0f} % of the variance)",
        y=f"component 2 ({shares[1]:.0f} %)",
    )
    tidy(right, title=f"t-SNE\nCHI {embedding.chi_tsne:.3g}", x="dimension 1", y="dimension 2")
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=SMALL, frameon=False)
    count = f"{len(found.images)} photographs, crops of {found.crop}x{found.crop} LR pixels"
    figure.suptitle(f"{title}, layer {found.layer}, {count}", fontsize=NORMAL, x=0.01, ha="left")
    save(figure, path)


def _scatter(axes: Axes, points: NDArray[np.float64], found: Representation) -> None:
    for kind in found.kinds:
        x, y = points[found.rows(kind), :2].T
        colour, marker, face = _look(kind)
        axes.scatter(x, y, s=16, marker=marker, facecolors=face, edgecolors=colour, linewidths=1, label=kind)


def _look(kind: Kind) -> tuple[str, str, str]:
    """Colour, marker, filling."""
    steps = kind.split("+")
    colour = COLOURS["+".join(step for step in steps if step != "blur") or "clean"]
    return (colour, "^", "none") if "blur" in steps else (colour, "o", colour)
