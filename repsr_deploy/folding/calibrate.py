"""AdaDM with a constant instead of its factor: not the same network, so only where asked for, with the measured loss.

The factor exp(w log s + b) of a block depends on the image (arXiv 2111.13905). Its geometric mean over calibration
images goes into the block's second convolution; after that the network folds whole and can be tiled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.edsr import NormConv
from repsr_deploy.nets.modulation import AdaptiveModulation
from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.ops import Eager
from repsr_deploy.nets.spec import EdsrSpec


class _Recorder(Eager):
    """Runs a network and keeps the logarithm of every factor."""

    def __init__(self) -> None:
        self.log_factors: dict[str, list[Tensor]] = {}

    def modulate(self, name: str, layer: AdaptiveModulation, features: Tensor, source: Tensor) -> Tensor:
        log_factor = layer.log_factor(source)
        self.log_factors.setdefault(name, []).append(log_factor.flatten())
        return features * log_factor.exp().to(features.dtype)


@torch.no_grad()
def calibrated(net: Network, images_nchw: Sequence[Tensor]) -> Network:
    """`net` with every factor replaced by its geometric mean over `images_nchw` (each N x C x H x W in 0..1).

    `net` is not modified; the result is in evaluation mode, in its data type.

    Raises:
        UsageError: `net` has no AdaDM, or there is no image.
    """
    spec = net.spec
    if not isinstance(spec, EdsrSpec) or spec.norm != "adadm" or spec.is_folded:
        raise UsageError(f"{spec.name} has no factor to calibrate; expected a trained EDSR-AdaDM")
    if not images_nchw:
        raise UsageError("no image to calibrate on; expected photographs like those to be enlarged")
    was_training = net.training
    recorder = _Recorder()
    net.eval()
    for image_nchw in images_nchw:
        net.graph(recorder, image_nchw)
    net.train(was_training)
    constant = build(dataclasses.replace(spec, norm="bn")).to(next(net.parameters()))
    constant.load_state_dict({key: value for key, value in net.state_dict().items() if ".modulation." not in key})
    for name, log_factors in recorder.log_factors.items():
        second = constant.get_submodule(name.replace("modulation", "conv2"))
        assert isinstance(second, NormConv)
        second.gain *= torch.cat(log_factors).mean().exp().to(second.gain.dtype)
    return constant.eval()
