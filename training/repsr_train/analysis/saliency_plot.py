"""Pictures of channel saliency: the maps of a layer, the shares of its channels, how unequal every layer is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsr_train.analysis.figure import GRAY, NORMAL, SMALL, SUBJECTS, new_figure, save, tidy
from repsr_train.analysis.saliency import LayerSaliency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

Results = Mapping[str, Mapping[str, LayerSaliency]]
"""Label of the network -> layer -> what was found."""

MAX_MAPS = 64
"""Maps shown of a layer, those of the highest scores."""
PANEL, GAP, LINE = 5.4, 0.05, 0.14
"""Inches: width of a network's panel, room between two maps, line of text above a map."""
INPUT, BAR, TITLE, LEAST_HEIGHT = 1.5, 1.0, 0.5, 2.0
"""Inches: width of the input and of the colour bar, height of the titles, and of panels that leave room for the bar."""
COLOURS = "magma"
TICKS = (0, 0.01, 0.04, 0.16, 0.36, 0.64, 1)
"""On a square-root scale."""
MAX_NAMES = 24
"""Names of layers along an axis."""


def draw_maps(path: Path, results: Results, layer: str, image_hwc: NDArray[np.uint8]) -> None:
    """Write the maps of a layer's channels, highest score first, with the image beside them; a panel for each network.

    Raises:
        RepsrError: the file cannot be written.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm

    found = {label: layers[layer] for label, layers in results.items()}
    height = max(LEAST_HEIGHT, *(_Mosaic(each).height for each in found.values()))
    figure = new_figure(INPUT + BAR + PANEL * len(found), height + TITLE)
    image_axes, *panels = figure.subplots(1, 1 + len(found), width_ratios=[INPUT, *[PANEL] * len(found)])
    image_axes.imshow(image_hwc, interpolation="nearest")
    image_axes.set_title(f"input, {image_hwc.shape[1]}x{image_hwc.shape[0]}", fontsize=NORMAL, loc="left")
    norm = PowerNorm(0.5, 0, 1)
    for axes, (label, each) in zip(panels, found.items(), strict=True):
        mosaic = _Mosaic(each)
        mosaic.draw(axes, norm)
        axes.set_ylim(height, 0)
        shown, total = len(mosaic.order), len(each.scores)
        which = f"{total} channels" if shown == total else f"{shown} strongest of {total} channels"
        text = f"{label}, layer {layer}\n{which}; above each its number and its share of the scores"
        axes.set_title(text, fontsize=NORMAL, loc="left")
    for axes in (image_axes, *panels):
        axes.set_axis_off()
        axes.set_anchor("NW")
    bar = figure.colorbar(
        ScalarMappable(norm, COLOURS), ax=panels, shrink=0.7, aspect=30, pad=0.01, ticks=TICKS, format="%g"
    )
    bar.set_label("|dT/dF| / its maximum\nin the layer", fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)
    save(figure, path)


def draw_shares(path: Path, results: Results, layers: Sequence[str]) -> None:
    """Write each channel's share of its layer's scores, sorted; a panel for each layer, a line for each network.

    Raises:
        RepsrError: the file cannot be written.
    """
    figure = new_figure(0.4 + 3.2 * len(layers), 3.1)
    panels = figure.subplots(1, len(layers), squeeze=False)[0]
    for axes, layer in zip(panels, layers, strict=True):
        for (label, found), (colour, marker) in zip(results.items(), SUBJECTS, strict=False):
            shares = 100 * np.sort(found[layer].shares)[::-1]
            ranks = np.arange(1, len(shares) + 1)
            text = f"{label}, Gini {found[layer].gini:.2f}"
            axes.plot(ranks, shares, color=colour, marker=marker, markersize=3, linewidth=1.2, label=text)
        for count in {len(found[layer].scores) for found in results.values()}:
            axes.axhline(100 / count, color=GRAY, linestyle=":", linewidth=1, label=f"equal shares of {count}")
        tidy(axes, title=f"layer {layer}", x="channels, highest score first", y="share of the scores, %")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=SMALL, frameon=False)
    save(figure, path)


def draw_concentration(path: Path, results: Results) -> None:
    """Write the Gini coefficient of every layer, in the order of computation; a line for each network.

    Raises:
        RepsrError: the file cannot be written.
    """
    names = list(next(iter(results.values())))
    figure = new_figure(max(4.5, 1.5 + 0.22 * min(len(names), MAX_NAMES)), 3.1)
    axes = figure.subplots()
    for (label, found), (colour, marker) in zip(results.items(), SUBJECTS, strict=False):
        axes.plot([found[name].gini for name in names], color=colour, marker=marker, markersize=4, label=label)
    every = math.ceil(len(names) / MAX_NAMES)
    axes.set_xticks(range(0, len(names), every), names[::every], rotation=90 if len(names) > 8 else 0)
    axes.set_ylim(bottom=0)
    tidy(axes, title="how unequal the channels are", x="layer", y="Gini coefficient of the saliency")
    axes.grid(axis="y", alpha=0.25)
    axes.legend(fontsize=SMALL, frameon=False)
    save(figure, path)


class _Mosaic:
    """Maps in rows, each with a line of text above it; lengths in inches, y downwards."""

    def __init__(self, found: LayerSaliency) -> None:
        self.found, self.order = found, found.order[:MAX_MAPS]
        self.columns = _columns(len(self.order))
        map_height, map_width = found.maps_chw.shape[1:]
        self.step_x = PANEL / self.columns
        self.side_x = self.step_x - GAP
        self.side_y = self.side_x * map_height / map_width
        self.step_y = self.side_y + GAP + LINE
        self.height = self.step_y * math.ceil(len(self.order) / self.columns)

    def draw(self, axes: Axes, norm: Normalize) -> None:
        for place, channel in enumerate(self.order):
            row, column = divmod(place, self.columns)
            left, top = column * self.step_x, row * self.step_y + LINE
            extent = (left, left + self.side_x, top + self.side_y, top)
            axes.imshow(self.found.maps_chw[channel], extent=extent, cmap=COLOURS, norm=norm)
            text = f"{channel}: {100 * self.found.shares[channel]:.1f} %"
            axes.text(left, top - 0.03, text, fontsize=6, verticalalignment="bottom")
        axes.set_xlim(0, PANEL)


def _columns(count: int) -> int:
    """About as many columns as rows, more where that fills the last row."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, least + 3) if count % columns == 0), least)
