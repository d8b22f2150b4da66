"""A picture of degradations for people to look at: what a network is trained on, and what it is tested on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.files import atomic_path
from repsr_train.degradations.eight import KINDS, degraded, noise_seed
from repsr_train.degradations.kernels import Kernel, Sinc
from repsr_train.degradations.process import ProcessDraw
from repsr_train.degradations.second_order import Draw, SecondOrder, apply, draw, sample_generator

Uint8 = NDArray[np.uint8]

SIDE = 384
"""Longest side of the part of the photograph that is shown, HR pixels."""
COLUMNS = 6
PANEL_INCHES, DPI = 3.2, 120
LABEL_INCHES = 0.5
"""Three lines of text."""


def gallery(path: Path, photo_hwc: Uint8, *, name: str, scale: int = 4, seed: int = 0, count: int = 8) -> None:
    """Write a PNG with the middle of a photograph, the eight test degradations and second-order samples, labelled.

    Degraded pictures are enlarged by repeating pixels, so that what is seen is what is there.

    Args:
        path: where to write; replaced as a whole.
        photo_hwc: RGB, H x W x 3.
        name: of the photograph; seeds the noise of the test degradations.
        scale: factor of the reduction.
        seed: of the second-order samples.
        count: how many of those.

    Raises:
        UsageError: `path` is no PNG file, the photograph is smaller than 16 LR pixels, or a number is out of range.
        RepsrError: the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path} does not end in .png; expected a PNG file to write")
    if scale < 1 or seed < 0 or count < 0:
        raise UsageError(
            f"scale is {scale}, seed {seed}, count {count}; expected scale 1 or more, the others 0 or more"
        )
    hr_hwc = _middle(photo_hwc, scale)
    panels = [("original", hr_hwc)]
    panels += [(kind, degraded(hr_hwc, scale, kind, noise_seed(name, kind))) for kind in KINDS]
    panels += _second_order_panels(hr_hwc, scale, seed, count)
    _write(path, panels, title=f"{name}: degradations for x{scale}, LR {hr_hwc.shape[1] // scale} pixels wide")


def _middle(photo_hwc: Uint8, scale: int) -> Uint8:
    """The middle of the photograph, at most SIDE pixels wide and high, sides divisible by the scale."""
    sides = [min(side, max(SIDE, 16 * scale)) // scale * scale for side in photo_hwc.shape[:2]]
    if min(sides) < 16 * scale:
        raise UsageError(
            f"the photograph has {photo_hwc.shape[1]}x{photo_hwc.shape[0]} pixels; "
            f"expected at least {16 * scale} on each side for x{scale}"
        )
    top, left = ((have - want) // 2 for have, want in zip(photo_hwc.shape[:2], sides, strict=True))
    return np.ascontiguousarray(photo_hwc[top : top + sides[0], left : left + sides[1]])


def _second_order_panels(hr_hwc: Uint8, scale: int, seed: int, count: int) -> list[tuple[str, Uint8]]:
    """The sharpened target, then `count` samples."""
    hr_nchw = torch.from_numpy(hr_hwc.transpose(2, 0, 1)[None]).float() / 255
    panels: list[tuple[str, Uint8]] = []
    for index in range(count):
        choices = draw(SecondOrder(), sample_generator((seed,), index))
        lr_nchw, target_nchw = apply(hr_nchw, scale, choices)
        if index == 0:
            panels.append(("target of the samples: sharpened", _picture(target_nchw)))
        panels.append((_label(index, choices), _picture(lr_nchw)))
    return panels


def _label(index: int, choices: Draw) -> str:
    jpeg = "JPEG last" if choices.jpeg_last else "JPEG before"
    last = "no sinc" if choices.final_kernel is None else _kernel_label(choices.final_kernel)
    ending = f"{choices.final_mode}, {last}, {jpeg}"
    return "\n".join((f"{index}: {_process_label(choices.first)}", _process_label(choices.second), ending))


def _process_label(choices: ProcessDraw) -> str:
    noise = choices.noise
    return (
        f"{_kernel_label(choices.kernel) if choices.kernel else 'no blur'}, x{choices.factor:.2f} {choices.mode}, "
        f"{'gray ' if noise.gray else ''}{noise.kind} {noise.amount:.1f}, q{choices.quality}"
    )


def _kernel_label(kernel: Kernel) -> str:
    if isinstance(kernel, Sinc):
        return f"sinc {kernel.cutoff:.1f}"
    x, y = kernel.sigma
    return f"{kernel.kind.replace('_', ' ')} {x:.1f}" + (f"/{y:.1f}" if x != y else "")


def _picture(image_nchw: Tensor) -> Uint8:
    return (image_nchw[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _write(path: Path, panels: list[tuple[str, Uint8]], *, title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // COLUMNS)
    height, width = panels[0][1].shape[:2]
    picture_inches = PANEL_INCHES * height / width
    total_inches = rows * (picture_inches + LABEL_INCHES) + 0.05
    figure = Figure(figsize=(COLUMNS * PANEL_INCHES, total_inches), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.suptitle(title, y=1 - 0.04 / total_inches, fontsize=11, verticalalignment="top")
    figure.subplots_adjust(
        left=0.005,
        right=0.995,
        bottom=0.05 / total_inches,
        top=1 - LABEL_INCHES / total_inches,
        wspace=0.04,
        hspace=LABEL_INCHES / picture_inches,
    )
    for index, (label, picture_hwc) in enumerate(panels):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        axes.imshow(picture_hwc, interpolation="nearest")
        axes.set_title(label, fontsize=7)
        axes.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
