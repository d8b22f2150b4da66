"""Calibration on photographs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.folding.calibrate import calibrated
from repsr_deploy.metrics.evaluate import evaluate, read_reference, reduce
from repsr_deploy.nets.network import Network


def calibrate_on(net: Network, photographs: Sequence[Path]) -> tuple[Network, dict[str, Any]]:
    """`folding.calibrate.calibrated` on the LR versions of HR photographs, and PSNR-Y in dB before and after.

    Raises:
        ImageFileError: a photograph cannot be read.
        UsageError: the network has no factor to calibrate.
    """
    scale = net.spec.scale
    images = [_batch(reduce(read_reference(path, scale), scale)) for path in photographs]
    constant = calibrated(net, images)
    before, after = (
        evaluate(_upscaler(each), scale, photographs, metrics=("psnr_y",), bicubic=False).model.psnr_y
        for each in (net, constant)
    )
    return constant, {"photographs": len(photographs), "psnr_y_before": before, "psnr_y_after": after}


def _batch(image_hwc: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image_hwc.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def _upscaler(net: Network) -> Any:
    @torch.no_grad()
    def upscale(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        output = net(_batch(image_hwc)).clamp(0, 1)[0] * 255
        return output.round().byte().permute(1, 2, 0).numpy()

    return upscale
