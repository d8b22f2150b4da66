"""EDSR's residual network, with BatchNorm and AdaDM or without (Liu et al., arXiv 2111.13905; fact sheet 2).

    block: x + res_scale * conv2(bn2(ReLU(conv1(bn1(x))))) * exp(w log s(x) + b)

BatchNorm comes before each convolution. No mean is subtracted, as in AdaDM's repository; values are 0..1 instead of
0..255. A long skip around the body, PixelShuffle in steps of 2 (or 3), one convolution at full resolution.
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv, affine, conv
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.modulation import AdaptiveModulation
from repsr_deploy.nets.norm import ModifiedBatchNorm2d
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.plain import PlainConv, ShiftedConv
from repsr_deploy.nets.spec import EdsrSpec, upsampler_factors

T = TypeVar("T")


class NormConv(nn.Module):
    """gain * conv3x3(BatchNorm(x)), or without the norm; `gain` is a constant of the network, not trained."""

    gain: Tensor

    def __init__(self, channels: int, *, norm: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.norm = ModifiedBatchNorm2d(channels) if norm else None
        self.conv = PlainConv(channels, channels)
        self.register_buffer("gain", torch.tensor(float(gain)))

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> the same shape."""
        return self.gain * self.conv(x_nchw if self.norm is None else self.norm(x_nchw))

    def branches(self) -> list[list[Conv]]:
        """A single branch."""
        before = [] if self.norm is None else [affine(*self.norm.scale_and_shift())]
        kernel = conv(
            self.gain.double() * self.conv.weight.double(), self.gain.double() * cast("Tensor", self.conv.bias).double()
        )
        return [[*before, kernel]]


class ResidualBranch(nn.Module):
    """The branch of a block, N x C x H x W -> the same shape."""

    def __init__(self, spec: EdsrSpec) -> None:
        super().__init__()
        norm = spec.norm != "none"
        if spec.is_folded:
            kind = ShiftedConv if norm else PlainConv
            self.conv1, self.conv2 = kind(spec.channels, spec.channels), kind(spec.channels, spec.channels)
        else:
            self.conv1 = NormConv(spec.channels, norm=norm)
            self.conv2 = NormConv(spec.channels, norm=norm, gain=spec.res_scale)
        self.act = nn.ReLU()
        self.modulation = AdaptiveModulation() if spec.norm == "adadm" else None

    def graph(self, ops: Ops[T], prefix: str, x: T) -> T:
        """The branch in terms of `ops`."""
        features = ops.activation(f"{prefix}.act", self.act, ops.linear(f"{prefix}.conv1", self.conv1, x))
        features = ops.linear(f"{prefix}.conv2", self.conv2, features)
        if self.modulation is None:
            return features
        return ops.modulate(f"{prefix}.modulation", self.modulation, features, x)


class Edsr(Network):
    """EDSR, EDSR-BN or EDSR-AdaDM."""

    spec: EdsrSpec

    def __init__(self, spec: EdsrSpec) -> None:
        super().__init__(spec)
        width = spec.channels
        self.head = PlainConv(spec.colours, width)
        self.body = nn.ModuleList(ResidualBranch(spec) for _ in range(spec.blocks))
        self.body_end = PlainConv(width, width)
        self.upsampler = nn.ModuleList(PlainConv(width, width * f**2) for f in upsampler_factors(spec.scale))
        self.tail = PlainConv(width, spec.colours)

    def graph(self, ops: Ops[T], x: T) -> T:
        """Head, body with its long skip, upsampler, tail."""
        first = features = ops.feature("head", ops.linear("head", self.head, x))
        for index, branch in enumerate(self.body):
            out = cast("ResidualBranch", branch).graph(ops, f"body.{index}", features)
            features = ops.feature(f"body.{index}", ops.add(features, out))
        features = ops.add(ops.linear("body_end", self.body_end, features), first)
        for index, (step, factor) in enumerate(zip(self.upsampler, upsampler_factors(self.spec.scale), strict=True)):
            features = ops.shuffle(ops.linear(f"upsampler.{index}", cast("LinearLayer", step), features), factor)
        return ops.linear("tail", self.tail, ops.feature("upsampled", features))
