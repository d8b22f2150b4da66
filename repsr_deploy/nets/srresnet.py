"""SRResNet without BatchNorm and with Reflash dropout (Kong et al., arXiv 2112.12089; fact sheet 4.1).

MSRResNet: head, M blocks of conv-ReLU-conv with a skip, PixelShuffle steps, a convolution at full resolution, dropout,
the last convolution; no skip around the body; a bilinear global skip. LeakyReLU 0.1 outside the blocks. The
initialisation is BasicSR's: normal (Kaiming) times 0.1, biases 0.
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import nn

from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.plain import PlainConv
from repsr_deploy.nets.spec import SrresnetSpec, upsampler_factors

T = TypeVar("T")

INITIAL_GAIN = 0.1


class ResidualBranch(nn.Module):
    """The branch of a block: conv-ReLU-conv."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = PlainConv(channels, channels), PlainConv(channels, channels)
        self.act = nn.ReLU()


class Srresnet(Network):
    """SRResNet; dropout acts in training alone and leaves no trace in the folded network."""

    spec: SrresnetSpec

    def __init__(self, spec: SrresnetSpec) -> None:
        super().__init__(spec)
        width = spec.channels
        self.head = PlainConv(spec.colours, width)
        self.body = nn.ModuleList(ResidualBranch(width) for _ in range(spec.blocks))
        self.upsampler = nn.ModuleList(PlainConv(width, width * f**2) for f in upsampler_factors(spec.scale))
        self.hr = PlainConv(width, width)
        self.tail = PlainConv(width, spec.colours)
        self.act = nn.LeakyReLU(0.1)
        kind = nn.Dropout2d if spec.dropout_kind == "channel" else nn.Dropout
        self.dropout = kind(spec.dropout)
        for module in self.modules():
            if isinstance(module, PlainConv):
                _initialise(module)

    def graph(self, ops: Ops[T], x: T) -> T:
        """Features have the names of the paper: first, b1 ... bM, hr, last."""
        features = ops.feature("first", ops.activation("act", self.act, ops.linear("head", self.head, x)))
        for index, branch in enumerate(self.body):
            features = ops.feature(f"b{index + 1}", self._block(ops, cast("ResidualBranch", branch), index, features))
        for index, (step, factor) in enumerate(zip(self.upsampler, upsampler_factors(self.spec.scale), strict=True)):
            features = ops.shuffle(ops.linear(f"upsampler.{index}", cast("LinearLayer", step), features), factor)
            features = ops.activation("act", self.act, features)
        features = ops.feature("hr", ops.activation("act", self.act, ops.linear("hr", self.hr, features)))
        features = self._drop(ops, "last-conv", 0, features)
        features = ops.feature("last", ops.linear("tail", self.tail, features))
        return ops.add(features, ops.bilinear(x, self.spec.scale))

    def _block(self, ops: Ops[T], branch: ResidualBranch, index: int, x: T) -> T:
        prefix, number = f"body.{index}", index + 1
        features = self._drop(ops, "conv1", number, ops.linear(f"{prefix}.conv1", branch.conv1, x))
        features = ops.activation(f"{prefix}.act", branch.act, features)
        features = self._drop(ops, "conv2", number, ops.linear(f"{prefix}.conv2", branch.conv2, features))
        return self._drop(ops, "sum", number, ops.add(x, features))

    def _drop(self, ops: Ops[T], place: str, block: int, x: T) -> T:
        return ops.dropout(self.dropout, x) if self.spec.drops(place, block) else x


@torch.no_grad()
def _initialise(conv: PlainConv) -> None:
    nn.init.kaiming_normal_(conv.weight)
    conv.weight.mul_(INITIAL_GAIN)
    nn.init.zeros_(cast("nn.Parameter", conv.bias))
