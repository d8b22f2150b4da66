"""WDSR-A and WDSR-B: wide activation, weight norm (Yu et al., arXiv 1808.08718; BMVC 2019 version).

    y = PixelShuffle(tail(body(head(x - m)))) + PixelShuffle(skip(x - m)) + m,   block: x + res_scale * branch(x)

Branch of A: 3x3 n -> wide, ReLU, 3x3 -> n. Of B: 1x1 n -> wide, ReLU, 1x1 -> narrow, 3x3 -> n, no activation between
the last two. Values 0..1 with mean m = 0.5 and the initialisation of the BMVC version (fact sheet 3.2): gain 2 for the
convolution before ReLU, 1/sqrt(M) for the last of a block, 1 elsewhere, biases 0. Without weight norm the network
starts as the same function.
"""

from __future__ import annotations

import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, affine, conv
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.plain import PlainConv, ShiftedConv
from repsr_deploy.nets.spec import WdsrSpec
from repsr_deploy.nets.weight_norm import WeightNormConv

T = TypeVar("T")

MEAN = 0.5


class WdsrConv(nn.Module):
    """scale * conv(x - subtract) + add, with weight norm or, started as the same function, without."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        weight_norm: bool,
        gain: float = 1.0,
        subtract: float = 0.0,
        add: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        normed = WeightNormConv(in_channels, out_channels, kernel_size, gain)
        self.conv = normed if weight_norm else _without_norm(normed)
        self.subtract, self.add, self.scale = subtract, add, scale

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x I x H x W -> N x O x H x W."""
        features = self.conv(x_nchw - self.subtract if self.subtract else x_nchw)
        features = features * self.scale if self.scale != 1 else features
        return features + self.add if self.add else features

    def branches(self) -> list[list[Conv]]:
        """A single branch."""
        inner = self.conv.branches()[0][0]
        kernel = conv(self.scale * inner.weight_oihw, self.scale * inner.bias_o + self.add)
        one = inner.weight_oihw.new_ones(inner.weight_oihw.shape[1])
        return [[affine(one, -self.subtract * one), kernel] if self.subtract else [kernel]]


class LowRankPair(nn.Module):
    """WDSR-B's 1x1 wide -> narrow and 3x3 narrow -> n with nothing between, as one layer or as two."""

    def __init__(self, spec: WdsrSpec) -> None:
        super().__init__()
        last = {"gain": 1 / math.sqrt(spec.blocks), "scale": spec.res_scale}
        self.reduce = _layer(spec, spec.wide, spec.narrow, 1)
        self.restore = _layer(spec, spec.narrow, spec.channels, 3, **last)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x wide x H x W -> N x n x H x W."""
        return self.restore(self.reduce(x_nchw))

    def branches(self) -> list[list[Conv]]:
        """A single branch."""
        layers = (self.reduce, self.restore)
        return [[operator for layer in layers for operator in cast("LinearLayer", layer).branches()[0]]]


class WideBranch(nn.Module):
    """The branch of a block, N x n x H x W -> the same shape."""

    def __init__(self, spec: WdsrSpec) -> None:
        super().__init__()
        self.whole = spec.family == "wdsr-a" or spec.pair_folds
        self.expand = _layer(spec, spec.channels, spec.wide, 3 if spec.family == "wdsr-a" else 1, gain=2.0)
        self.act = nn.ReLU()
        if spec.family == "wdsr-a":
            last = {"gain": 1 / math.sqrt(spec.blocks), "scale": spec.res_scale}
            self.project = _layer(spec, spec.wide, spec.channels, 3, **last)
        elif spec.is_folded and spec.pair_folds:
            self.project = ShiftedConv(spec.wide, spec.channels)
        else:
            self.project = LowRankPair(spec)

    def graph(self, ops: Ops[T], prefix: str, x: T) -> T:
        """The branch in terms of `ops`."""
        features = ops.linear(f"{prefix}.expand", cast("LinearLayer", self.expand), x)
        features = ops.activation(f"{prefix}.act", self.act, features)
        if self.whole:
            return ops.linear(f"{prefix}.project", cast("LinearLayer", self.project), features)
        pair = cast("LowRankPair", self.project)
        features = ops.linear(f"{prefix}.project.reduce", cast("LinearLayer", pair.reduce), features)
        return ops.linear(f"{prefix}.project.restore", cast("LinearLayer", pair.restore), features)


class Wdsr(Network):
    """WDSR-A or WDSR-B."""

    spec: WdsrSpec

    def __init__(self, spec: WdsrSpec) -> None:
        super().__init__(spec)
        out_channels = spec.colours * spec.scale**2
        self.head = _layer(spec, spec.colours, spec.channels, 3, subtract=MEAN)
        self.body = nn.ModuleList(WideBranch(spec) for _ in range(spec.blocks))
        self.tail = _layer(spec, spec.channels, out_channels, 3, add=MEAN)
        self.skip = _layer(spec, spec.colours, out_channels, 5, subtract=MEAN)

    def graph(self, ops: Ops[T], x: T) -> T:
        """The formula above; the two PixelShuffles of a sum are one."""
        features = ops.feature("head", ops.linear("head", cast("LinearLayer", self.head), x))
        for index, branch in enumerate(self.body):
            out = cast("WideBranch", branch).graph(ops, f"body.{index}", features)
            features = ops.feature(f"body.{index}", ops.add(features, out))
        tail = ops.linear("tail", cast("LinearLayer", self.tail), features)
        skip = ops.linear("skip", cast("LinearLayer", self.skip), x)
        return ops.shuffle(ops.add(tail, skip), self.spec.scale)


def _layer(
    spec: WdsrSpec, in_channels: int, out_channels: int, kernel_size: int, *, subtract: float = 0.0, **rest: float
) -> nn.Module:
    """One convolution of the network, in its folded form or, as `WdsrConv` with these options, in its trained one."""
    if spec.is_folded:
        return (ShiftedConv if subtract else PlainConv)(in_channels, out_channels, kernel_size)
    norm = spec.weight_norm
    return WdsrConv(in_channels, out_channels, kernel_size, weight_norm=norm, subtract=subtract, **rest)


def _without_norm(normed: WeightNormConv) -> PlainConv:
    out_channels, in_channels, kernel_size, _ = normed.direction.shape
    with torch.device("meta"):  # draws no random numbers, which the networks with and without norm share
        plain = PlainConv(in_channels, out_channels, kernel_size)
    plain.weight, plain.bias = nn.Parameter(normed.weight.detach()), normed.bias
    return plain
