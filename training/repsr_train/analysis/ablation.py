"""Channel ablation of Reflash Dropout (Kong et al., arXiv 2112.12089; fact sheet 4.4): what is a network without one?

A channel of the features is set to zero, the others are raised to make up for it, and the PSNR is measured. Without
dropout some channels cannot be missed; with dropout nearly every one can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.samples import checked_output, store_planes
from repsr_deploy.metrics.colour import luma
from repsr_deploy.metrics.evaluate import read_reference
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.spec import Colour
from repsr_train.analysis.features import check_layers, layers_of, run_with_change
from repsr_train.analysis.inputs import degraded_lr, to_batch
from repsr_train.degradations.eight import Kind

PROTOCOL = (
    "one channel of the layer set to zero, the others times sum|F| / (sum|F| - sum|F_c|) over the image; output "
    "rounded to uint8, border of `scale` pixels left out, PSNR with peak 255, on RGB or on studio-range BT.601 Y; "
    "mean: of the images' values"
)
BATCH_NUMBERS = 2**25
"""How many numbers the widest feature map may hold when several channels are ablated at once; 128 MiB of float32."""

Uint8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """PSNR without each channel of a layer, dB."""

    layer: str
    kind: Kind
    colour: Colour
    images: tuple[str, ...]
    whole_db: NDArray[np.float64]
    """Of the network as it is, by image."""
    without_db: NDArray[np.float64]
    """images x channels: without that channel."""

    @property
    def change_db(self) -> NDArray[np.float64]:
        """Mean change for each channel, by which a network without it is better (above 0) or worse."""
        return (self.without_db - self.whole_db[:, None]).mean(axis=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "layer": self.layer,
            "kind": self.kind,
            "colour": self.colour,
            "psnr_db": float(self.whole_db.mean()),
            "change_db": self.change_db.tolist(),
            "images": [
                {"name": name, "psnr_db": whole, "psnr_without_channel_db": without}
                for name, whole, without in zip(
                    self.images, self.whole_db.tolist(), self.without_db.tolist(), strict=True
                )
            ],
        }


def ablate(
    net: Network,
    hr_paths: Sequence[Path],
    *,
    layer: str | None = None,
    kind: Kind = "clean",
    colour: Colour = "rgb",
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Measure `net` on the degraded versions of photographs, whole and without each channel of a layer.

    Args:
        net: in evaluation mode; it is not modified.
        hr_paths: photographs, the truth.
        layer: whose channels; by default the features before the last convolution.
        kind: how the LR images are made.
        colour: what PSNR is measured on; the paper takes RGB.
        progress: called with the images done and their number.

    Raises:
        UsageError: no such layer, no photograph, RGB of a network that knows luma alone, or a network in training mode.
        ImageFileError: a photograph cannot be read.
        ModelFileError: the network gives NaN or infinity.
        RepsrError: an image is restored without any error, so that PSNR is infinite.
    """
    layer = layer or layers_of(net).before_last_convolution
    check_layers(net, (layer,))
    check_colour(net, colour)
    if not hr_paths:
        raise UsageError("no photograph to measure on; expected one or more")
    rows: list[NDArray[np.float64]] = []
    for path in hr_paths:
        hr_hwc = read_reference(path, net.spec.scale)
        lr_hwc = degraded_lr(hr_hwc, net.spec.scale, kind, path.name)
        rows.append(psnr_without_channels(net, lr_hwc, hr_hwc, layer, colour))
        if not np.isfinite(rows[-1]).all():
            raise RepsrError(f"{path.name} is restored without any error; choose other photographs or another --kind")
        if progress:
            progress(len(rows), len(hr_paths))
    table = np.stack(rows)
    names = tuple(path.name for path in hr_paths)
    return Ablation(layer=layer, kind=kind, colour=colour, images=names, whole_db=table[:, 0], without_db=table[:, 1:])


def check_colour(net: Network, colour: Colour) -> None:
    """Raise UsageError for PSNR on RGB of a network that gives luma alone."""
    if colour == "rgb" and net.spec.colour == "y":
        raise UsageError(f"{net.spec.name} gives luma alone, which has no PSNR on RGB; choose --colour y")


@torch.no_grad()
def psnr_without_channels(
    net: Network, lr_hwc: Uint8, hr_hwc: Uint8, layer: str, colour: Colour
) -> NDArray[np.float64]:
    """PSNR in dB of one image: of the whole network, then without each channel of `layer`."""
    lr_nchw = to_batch(lr_hwc, net)
    scores = _scores(net(lr_nchw), hr_hwc, net, colour)
    num_channels = layers_of(net).channels[layer]
    at_once = max(1, BATCH_NUMBERS // (net.spec.width * lr_hwc.shape[0] * lr_hwc.shape[1]))
    for start in range(0, num_channels, at_once):
        channels = range(start, min(start + at_once, num_channels))
        output_nchw = run_with_change(net, lr_nchw, layer, partial(without_channel, channels=channels))
        scores += _scores(output_nchw, hr_hwc, net, colour)
    return np.array(scores)


def without_channel(features_nchw: Tensor, channels: Sequence[int]) -> Tensor:
    """One image's features without one channel, for each of `channels`: 1 x C x H x W -> K x C x H x W.

    The rest is raised by sum|F| / (sum|F| - sum|F_c|), so that the sum of magnitudes stays; where there is no rest the
    result is zero.
    """
    sums = features_nchw.abs().sum(dim=(0, 2, 3), dtype=torch.float64)
    rest = sums.sum() - sums[list(channels)]
    gains = torch.where(rest > 0, sums.sum() / rest, 1.0).to(features_nchw.dtype)
    changed_kchw = features_nchw * gains.view(-1, 1, 1, 1)
    changed_kchw[torch.arange(len(channels)), list(channels)] = 0
    return changed_kchw


def _scores(output_nchw: Tensor, hr_hwc: Uint8, net: Network, colour: Colour) -> list[float]:
    """PSNR of every output of a batch."""
    planes_nchw = checked_output(output_nchw.float().cpu().numpy(), net.spec.name)
    picture_hwc = np.empty((*hr_hwc.shape[:2], planes_nchw.shape[1]), np.uint8)
    reference = _compared(hr_hwc, net.spec.scale, colour)
    scores: list[float] = []
    for planes in planes_nchw:
        store_planes(planes, picture_hwc)
        scores.append(psnr(_compared(picture_hwc, net.spec.scale, colour), reference))
    return scores


def _compared(image_hwc: Uint8, border: int, colour: Colour) -> NDArray[Any]:
    """What PSNR is measured on: the inside, as it is or as Y; one channel is Y already."""
    inside_hwc = image_hwc[border:-border, border:-border]
    return inside_hwc if colour == "rgb" or inside_hwc.shape[2] == 1 else luma(inside_hwc)[..., None]
