"""The stack of RepSR, ECBSR and the plain network: head - M blocks - tail, nearest skip, PixelShuffle.

    y = PixelShuffle_s( tail(act(block_M(... act(block_1(act(head(x)))))) + repeat(x, s*s) )

The families differ only in what head, blocks and tail are made of. Repeating each colour s*s times before PixelShuffle
is the nearest-neighbour global skip of RepSR (fact sheet 1.3).
"""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import nn

from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ecbsr import ECB
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.plain import PlainConv, PReLU
from repsr_deploy.nets.repsr import RepSRBlock
from repsr_deploy.nets.spec import StackSpec

T = TypeVar("T")

INITIAL_TAIL_GAIN = 0.1


def _end(spec: StackSpec, in_channels: int, out_channels: int) -> nn.Module:
    if spec.family == "ecbsr":
        return ECB(in_channels, out_channels, spec.expansion)
    return PlainConv(in_channels, out_channels)


def _block(spec: StackSpec) -> nn.Module:
    if spec.family == "repsr":
        return RepSRBlock(spec.channels, spec.expansion, paths=spec.paths, norm=spec.norm == "bn")
    return _end(spec, spec.channels, spec.channels)


class Stack(Network):
    """RepSR, ECBSR or plain; PReLU with a slope for each channel."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__(spec)
        width = spec.channels
        self.head = _end(spec, spec.colours, width)
        self.head_act = PReLU(width)
        self.body = nn.ModuleList(_block(spec) for _ in range(spec.blocks))
        self.body_acts = nn.ModuleList(PReLU(width) for _ in range(spec.blocks))
        self.tail = _end(spec, width, spec.colours * spec.scale**2)
        with torch.no_grad():  # a new network is nearly its nearest-neighbour skip
            for parameter in self.tail.parameters():
                parameter.mul_(INITIAL_TAIL_GAIN)

    def graph(self, ops: Ops[T], x: T) -> T:
        """The formula above."""
        features = ops.linear("head", cast("LinearLayer", self.head), x)
        features = ops.feature("head", ops.activation("head_act", self.head_act, features))
        for index, (block, act) in enumerate(zip(self.body, self.body_acts, strict=True)):
            features = ops.linear(f"body.{index}", cast("LinearLayer", block), features)
            features = ops.feature(f"body.{index}", ops.activation(f"body_acts.{index}", act, features))
        features = ops.linear("tail", cast("LinearLayer", self.tail), features)
        return ops.shuffle(ops.add(features, ops.repeat(x, self.spec.scale**2)), self.spec.scale)
