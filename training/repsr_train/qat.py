"""Fine-tuning of a folded network in int8: what post-training quantization loses, training wins back.

The forward pass rounds the inputs and weights of the convolutions to int8 as the exported file will
(`repsr_deploy.export.int8.plan`), the backward pass takes rounding for the identity (straight-through, Jacob et al.,
CVPR 2018). Fold first, then fine-tune: a trained block has no single weight that could be rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.checkpoint import load_checkpoint, save_checkpoint
from repsr_deploy.errors import ProofError, UsageError
from repsr_deploy.export.int8.calibrate import calibrate
from repsr_deploy.export.int8.plan import LEVELS
from repsr_deploy.export.int8.tuned import history_entry, tuned_scales
from repsr_deploy.export.onnx import build_model
from repsr_deploy.export.pictures import photographs
from repsr_deploy.files import sha256
from repsr_deploy.folding.fold import fold
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network
from repsr_deploy.nets.plain import PlainConv
from repsr_deploy.tolerances import TOLERANCES

Scales = Mapping[str, float]
"""Name of a convolution -> what one step of its int8 input is worth."""

PROBE_SIDES = (37, 41)
"""H x W of the image on which the equalised network is compared with the one before."""


class Int8Conv(PlainConv):
    """A convolution whose input and weights are rounded to int8: N x I x H x W -> N x O x H x W, float32."""

    def __init__(self, conv: PlainConv, input_scale: float) -> None:
        super().__init__(conv.in_channels, conv.out_channels, conv.kernel_size[0])
        self.weight, self.bias, self.input_scale = conv.weight, conv.bias, input_scale

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that PyTorch gives it)
        """The convolution as the exported file computes it."""
        steps = torch.fake_quantize_per_tensor_affine(input.float(), self.input_scale, 0, -LEVELS - 1, LEVELS)
        return F.conv2d(steps, rounded_weights(self.weight), self.bias, padding=self.padding)


def rounded_weights(weight_oihw: Tensor) -> Tensor:
    """Weights as int8 has them, one scale for each output channel; gradients pass."""
    largest = weight_oihw.detach().abs().amax(dim=(1, 2, 3))
    scales = torch.where(largest > 0, largest / LEVELS, torch.ones_like(largest))
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight_oihw, scales, zeros, 0, -LEVELS, LEVELS)


def quantize(net: Network, scales: Scales) -> None:
    """Replace convolutions of a folded network by ones that round to int8; the state dict keeps its names.

    Raises:
        UsageError: one of them is no plain convolution.
    """
    for name, scale in scales.items():
        owner, _, child = name.rpartition(".")
        layer = net.get_submodule(name)
        if type(layer) is not PlainConv:
            raise UsageError(
                f"{name} of {net.spec.name} is a {type(layer).__name__}; fine-tuning in int8 expects plain convolutions"
            )
        setattr(net.get_submodule(owner), child, Int8Conv(layer, scale))


def prepare(checkpoint: Path, start: Path, pictures: Sequence[Path]) -> Network:
    """Fold and equalise a checkpoint, choose the scales of its int8 inputs, and write it to `start`.

    Args:
        checkpoint: of repsr-train, trained or folded.
        start: .safetensors to write: the folded network, its channels equalised; its history has the scales.
        pictures: HR photographs to calibrate on; none for scikit-image's.

    Raises:
        UsageError: nothing can be int8.
        ModelFileError, FoldError, ProofError: as `load_checkpoint`, `fold`.
    """
    trained, info = load_checkpoint(checkpoint)
    net = fold(trained).net.float()
    spec = net.spec
    described = ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour)
    calibration = calibrate(ir.from_proto(build_model(net, described)), described, photographs(pictures, spec.scale))
    _take_equalised(net, calibration.model)
    entry = {"stage": "fold", "network": trained.spec.name, "checkpoint_sha256": sha256(checkpoint.read_bytes())}
    history = [*info.history, entry, history_entry(calibration.plan)]
    save_checkpoint(start, net, replace(info, spec=spec, history=history))
    return net


@torch.no_grad()
def _take_equalised(net: Network, equalised: ir.Model) -> None:
    """Take over the weights of an equalised graph of `net`, which computes the same."""
    random = torch.Generator().manual_seed(0)
    x_nchw = torch.rand(1, net.spec.colours, *PROBE_SIDES, generator=random)
    before = net(x_nchw)
    weights: dict[str, Any] = {
        name: torch.tensor(value.const_value.numpy())
        for name, value in equalised.graph.initializers.items()
        if value.const_value is not None
    }
    own = net.state_dict()
    net.load_state_dict({key: weights[key].reshape(old.shape) if key in weights else old for key, old in own.items()})
    difference = float((net(x_nchw) - before).abs().max() / (before.max() - before.min()))
    if not difference <= TOLERANCES["store"]:
        raise ProofError(f"{net.spec.name} differs by {difference:.3g} of the range once equalised; expected the same")


def scales_of(history: Sequence[Mapping[str, Any]]) -> Scales:
    """The scales that a network was fine-tuned with, from the history of its weights.

    Raises:
        UsageError: it was not prepared for that.
    """
    found = tuned_scales(history)
    if found is None:
        raise UsageError("the checkpoint was not prepared for int8; start with `repsr-train qat CHECKPOINT`")
    return {name.removesuffix(".weight"): scale for name, scale in found.items()}
