"""Calibration on photographs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.calibrate import calibrated
from repsr_deploy.folding.graph.calibrate import calibrated as calibrated_graph
from repsr_deploy.folding.graph.evaluate import evaluate as run_graph
from repsr_deploy.folding.graph.shapes import reference_shapes
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


def calibrate_graph(model: ir.Model, photographs: Sequence[Path]) -> tuple[ir.Model, dict[str, Any]]:
    """`folding.graph.calibrate.calibrated` on the LR versions of HR photographs, and PSNR-Y in dB before and after.

    Raises:
        ImageFileError: a photograph cannot be read.
        UsageError: the graph has no factor to calibrate, or does not enlarge RGB pictures.
    """
    shapes = reference_shapes(model)
    small, large = (shapes.get(values[0].name or "", ()) for values in (model.graph.inputs, model.graph.outputs))
    if len(small) != 4 or len(large) != 4 or small[1] != 3 or large[1] != 3 or large[2] % small[2]:
        raise UsageError(f"calibration needs a network from RGB to RGB pictures; it takes {small} and gives {large}")
    scale = large[2] // small[2]
    images = (_batch(reduce(read_reference(path, scale), scale)) for path in photographs)
    constant, factors = calibrated_graph(model, images)
    before, after = (
        evaluate(_graph_upscaler(each), scale, photographs, metrics=("psnr_y",), bicubic=False).model.psnr_y
        for each in (model, constant)
    )
    measured = {"photographs": len(photographs), "psnr_y_before": before, "psnr_y_after": after}
    return constant, {**measured, "factors": factors}


def _graph_upscaler(model: ir.Model) -> Any:
    source, output = str(model.graph.inputs[0].name), str(model.graph.outputs[0].name)

    def upscale(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = run_graph(model, {source: _batch(image_hwc).double()})[output].clamp(0, 1)[0] * 255
        return values.round().byte().permute(1, 2, 0).numpy()

    return upscale
