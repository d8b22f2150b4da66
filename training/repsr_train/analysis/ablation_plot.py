"""Picture of a channel ablation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from repsr_train.analysis.ablation import Ablation
from repsr_train.analysis.figure import GRAY, SMALL, SUBJECTS, new_figure, save, tidy


def draw_ablation(path: Path, results: Mapping[str, Ablation]) -> None:
    """Write the change of PSNR without each channel, the channels that are missed most first; a line for each network.

    Raises:
        RepsrError: the file cannot be written.
    """
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    axes.axhline(0, color=GRAY, linewidth=1, linestyle=":")
    for (label, found), (colour, marker) in zip(results.items(), SUBJECTS, strict=False):
        changes = np.sort(found.change_db)
        ranks = np.arange(1, len(changes) + 1)
        text = f"{label}, whole: {found.whole_db.mean():.2f} dB"
        axes.plot(ranks, changes, color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=text)
    first = next(iter(results.values()))
    count = f"{len(first.images)} image" + ("s" if len(first.images) > 1 else "")
    tidy(
        axes,
        title=f"one channel of layer {first.layer} zeroed, the rest rescaled; {first.kind}, {count}",
        x="channels, most missed first",
        y=f"change of PSNR-{first.colour.upper()}, dB",
    )
    axes.legend(fontsize=SMALL, frameon=False)
    save(figure, path)
