"""Validation during training: PSNR-Y of the folded network on photographs that are never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.folding.fold import folded
from repsr_deploy.metrics.colour import luma
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.nets.network import Network
from repsr_train.batches import to_network
from repsr_train.data import Pair

Uint8 = NDArray[np.uint8]

SAMPLES = 4
"""Photographs of which a sample is shown."""
SAMPLE_SIDE = 96
"""LR pixels."""
DEGRADED_PHOTOGRAPHS, DEGRADED_SIDE = 8, 64
"""How many photographs are scored on the test degradations, and how much of the middle of each, LR pixels."""


@dataclass(frozen=True)
class Sample:
    """The middle of a photograph: uint8 RGB, LR P x P x 3, output and HR sP x sP x 3 (gray for luma networks)."""

    name: str
    lr_hwc: Uint8
    output_hwc: Uint8
    hr_hwc: Uint8


@dataclass(frozen=True)
class Validation:
    """How good a network is."""

    psnr_y: float
    """Mean over the photographs, dB: MATLAB's bicubic LR, output rounded, border of `scale` pixels cropped."""
    degraded: dict[str, float] = field(default_factory=dict[str, float])
    """Test degradation -> mean PSNR-Y of the middles of the photographs, dB; for networks that learn degradations."""
    samples: tuple[Sample, ...] = ()


@torch.no_grad()
def validate(net: Network, pairs: Sequence[Pair], *, degraded: bool = False) -> Validation:
    """Score `net`, folded, on pairs of LR and HR; with `degraded` on the eight test degradations of them, too."""
    plain = net if net.spec == net.spec.folded else folded(net)
    outputs = [upscale(plain, pair.lr_hwc) for pair in pairs]
    scores = [_psnr_y(output, pair.hr_hwc, net.spec.scale) for output, pair in zip(outputs, pairs, strict=True)]
    return Validation(
        psnr_y=float(np.mean(scores)),
        degraded=_degraded_scores(plain, pairs[:DEGRADED_PHOTOGRAPHS]) if degraded else {},
        samples=tuple(_sample(pair, output) for pair, output in zip(pairs[:SAMPLES], outputs, strict=False)),
    )


def upscale(plain: Network, lr_hwc: Uint8) -> Uint8:
    """RGB H x W x 3 -> sH x sW x 3, or x 1 (luma, 16..235) from a luma network; rounded."""
    device = next(plain.parameters()).device
    lr_nchw = np.ascontiguousarray(lr_hwc.transpose(2, 0, 1)[None])
    output_chw = plain(to_network(lr_nchw, plain.spec.colour, device)).clamp(0, 1)[0]
    return (output_chw * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def _psnr_y(output_hwc: Uint8, hr_hwc: Uint8, border: int) -> float:
    inside = (slice(border, -border), slice(border, -border))
    image_hw = output_hwc[..., 0] if output_hwc.shape[2] == 1 else luma(output_hwc)
    return psnr(image_hw[inside], luma(hr_hwc)[inside])


def _degraded_scores(plain: Network, pairs: Sequence[Pair]) -> dict[str, float]:
    from repsr_train.degradations.eight import KINDS, degraded, noise_seed

    scale = plain.spec.scale
    scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for pair in pairs:
        hr_hwc = _middle(pair.hr_hwc, DEGRADED_SIDE * scale, scale)
        for kind in KINDS:
            lr_hwc = degraded(hr_hwc, scale, kind, noise_seed(pair.name, kind))
            scores[kind].append(_psnr_y(upscale(plain, lr_hwc), hr_hwc, scale))
    return {kind: float(np.mean(values)) for kind, values in scores.items()}


def _sample(pair: Pair, output_hwc: Uint8) -> Sample:
    scale = pair.hr_hwc.shape[0] // pair.lr_hwc.shape[0]
    output_hwc = np.repeat(output_hwc, 3, axis=2) if output_hwc.shape[2] == 1 else output_hwc
    return Sample(
        pair.name,
        _middle(pair.lr_hwc, SAMPLE_SIDE, 1),
        _middle(output_hwc, SAMPLE_SIDE * scale, scale),
        _middle(pair.hr_hwc, SAMPLE_SIDE * scale, scale),
    )


def _middle(image_hwc: Uint8, side: int, multiple: int) -> Uint8:
    """The middle `side` x `side` pixels, fewer of a small image; its corner at a multiple of `multiple`."""
    corners = [max(0, (length - side) // 2 // multiple * multiple) for length in image_hwc.shape[:2]]
    return image_hwc[corners[0] : corners[0] + side, corners[1] : corners[1] + side]
