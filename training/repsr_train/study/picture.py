"""The picture of artifacts: the smooth region that one variant gets wrong and another does not, enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.files import atomic_path
from repsr_train.study.catalogue import Study, Weights
from repsr_train.study.flat import SIDE, flat_tiles, tile_errors
from repsr_train.study.runs import Run
from repsr_train.study.scores import Conditions, Picture, trained_network, upscale_with

Uint8 = NDArray[np.uint8]
Outputs = dict[tuple[Weights, str], Uint8]
"""(weights, label of the variant) -> the whole enlarged picture."""

CROP = 96
"""Side of what is shown, HR pixels."""
GAIN = 16
"""Enlargement of errors: gray is none, 8 levels are black or white."""
PANEL_INCHES, DPI = 2.2, 160
TITLES: dict[Weights, str] = {
    "last": "last weights, running\nstatistics of training",
    "averaged": "averaged weights,\nstatistics measured anew",
}


@dataclass(frozen=True)
class Place:
    """The flat tile in which the worse variant is most off, compared with the better one."""

    seed: int
    condition: str
    picture: Picture
    row: int
    """Of the tile; its pixels start at `row` * SIDE."""
    column: int
    excess: float
    """Error of the worse variant minus that of the better one, levels of 255."""


def draw_artifacts(path: Path, study: Study, runs: Sequence[Run], conditions: Conditions) -> bool:
    """Find the worst place of all test pictures and seeds and write it as PNG, with both kinds of weights.

    Returns whether there was a flat region at all; nothing is written without one.

    Raises:
        RepsrError: the file cannot be written.
    """
    assert study.picture is not None
    worse, better = study.picture
    by_name = {(run.variant.name, run.seed): run for run in runs}
    seeds = list(dict.fromkeys(run.seed for run in runs))
    places = [
        place
        for seed in seeds
        if (place := find_worst(by_name[worse, seed], by_name[better, seed], conditions)) is not None
    ]
    if not places:
        return False
    place = max(places, key=lambda place: place.excess)
    labels = {variant.name: variant.label for variant in study.variants}
    outputs: Outputs = {
        (weights, labels[name]): upscale_with(trained_network(by_name[name, place.seed].folder, weights))(
            place.picture.lr_hwc
        )
        for weights in TITLES
        for name in (worse, better)
    }
    _draw(path, place, outputs)
    return True


def find_worst(worse: Run, better: Run, conditions: Conditions) -> Place | None:
    """Where `worse` errs most in excess of `better`, with the last weights; None without flat regions."""
    enlarge = [upscale_with(trained_network(run.folder, "last")) for run in (worse, better)]
    found: Place | None = None
    for condition, pictures in conditions.items():
        for picture in pictures:
            reference_hwc = picture.reference_hwc
            flat = flat_tiles(reference_hwc)
            if not flat.any():
                continue
            errors = [tile_errors(run(picture.lr_hwc), reference_hwc) for run in enlarge]
            excess = np.where(flat, errors[0] - errors[1], -np.inf)
            row, column = divmod(int(excess.argmax()), excess.shape[1])
            if found is None or excess[row, column] > found.excess:
                found = Place(worse.seed, condition, picture, row, column, float(excess[row, column]))
    return found


def _draw(path: Path, place: Place, outputs: Outputs) -> None:
    """A row for each kind of weights: reference, both outputs, both errors enlarged."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    reference_hwc = place.picture.reference_hwc
    rows, columns = _window(place, reference_hwc)
    corner = (place.column * SIDE - columns.start - 0.5, place.row * SIDE - rows.start - 0.5)
    labels = list(dict.fromkeys(label for _, label in outputs))
    figure = Figure(
        figsize=(PANEL_INCHES * (1 + 2 * len(labels)) + 0.4, (PANEL_INCHES + 0.2) * len(TITLES) + 0.5),
        dpi=DPI,
        layout="constrained",
    )
    grid = figure.subplots(len(TITLES), 1 + 2 * len(labels), squeeze=False)
    for axes_row, (weights, title) in zip(grid, TITLES.items(), strict=True):
        panels = [("reference", reference_hwc[rows, columns])]
        panels += [(label, outputs[weights, label][rows, columns]) for label in labels]
        for label in labels:
            output_hwc = outputs[weights, label]
            error = tile_errors(output_hwc, reference_hwc)[place.row, place.column]
            text = f"{label}: error x{GAIN}\n{error:.2f} levels off in the frame"
            panels.append((text, _enlarged(output_hwc[rows, columns], reference_hwc[rows, columns])))
        for axes, (text, panel_hwc) in zip(axes_row, panels, strict=True):
            axes.imshow(panel_hwc, interpolation="nearest")
            axes.add_patch(Rectangle(corner, SIDE, SIDE, fill=False, edgecolor="#D55E00", linewidth=1))
            axes.set_title(text, fontsize=7)
            axes.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(title, fontsize=8)
    figure.suptitle(
        f"The flat {SIDE}x{SIDE} region (frame) where '{labels[0]}' with its last weights errs most in excess of "
        f"'{labels[1]}',\nthe worst of all: {place.condition}, {place.picture.name}, seed {place.seed}",
        fontsize=9,
    )
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _window(place: Place, image_hwc: Uint8) -> tuple[slice, slice]:
    """What is shown: CROP pixels around the tile, inside the image."""
    starts = [
        min(max(0, index * SIDE + SIDE // 2 - CROP // 2), max(0, length - CROP))
        for index, length in zip((place.row, place.column), image_hwc.shape[:2], strict=True)
    ]
    return slice(starts[0], starts[0] + CROP), slice(starts[1], starts[1] + CROP)


def _enlarged(output_hwc: Uint8, reference_hwc: Uint8) -> Uint8:
    error_hwc = output_hwc.astype(np.int64) - reference_hwc
    return (128 + GAIN * error_hwc).clip(0, 255).astype(np.uint8)
