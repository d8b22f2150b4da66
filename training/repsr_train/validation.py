"""Validation during training: PSNR-Y of the folded network on photographs that are never trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from repsr_deploy.folding.fold import folded_parameters
from repsr_deploy.metrics.colour import luma
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.nets.network import Network, build
from repsr_train.batches import to_network
from repsr_train.data import Pair


@torch.no_grad()
def validation_psnr(net: Network, pairs: Sequence[Pair]) -> float:
    """Mean PSNR-Y in dB over `pairs`, border of `scale` pixels cropped, output rounded to uint8 (fact sheet 5.5)."""
    device = next(net.parameters()).device
    plain = build(net.spec.folded).to(device)
    plain.load_state_dict(folded_parameters(net))
    values = [_psnr_y(plain, pair, device) for pair in pairs]
    return float(np.mean(values))


def _psnr_y(plain: Network, pair: Pair, device: torch.device) -> float:
    scale = plain.spec.scale
    lr_nchw = np.ascontiguousarray(pair.lr_hwc.transpose(2, 0, 1)[None])
    output = (plain(to_network(lr_nchw, plain.spec.colour, device)).clamp(0, 1)[0] * 255).round().cpu().numpy()
    inside = (slice(scale, -scale), slice(scale, -scale))
    reference_hw = luma(pair.hr_hwc)[inside]
    image_hw = output[0] if plain.spec.colour == "y" else luma(output.transpose(1, 2, 0).astype(np.uint8))
    return psnr(image_hw[inside], reference_hw)
