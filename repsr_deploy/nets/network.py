"""The one shape of every network here: head - M blocks - tail, nearest skip, PixelShuffle.

    y = PixelShuffle_s( tail(act(block_M(... act(block_1(act(head(x)))))) + repeat(x, s*s) )

The families differ only in what head, blocks and tail are made of (`repsr`, `ecbsr`, `plain`). Repeating each colour
s*s times before PixelShuffle is the nearest-neighbour global skip of RepSR (fact sheet 1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv
from repsr_deploy.nets.ecbsr import ECB, EdgeBranch
from repsr_deploy.nets.plain import PlainConv, PReLU
from repsr_deploy.nets.repsr import RepSRBlock
from repsr_deploy.nets.spec import Family, NetSpec


class LinearLayer(Protocol):
    """Head, block or tail: linear in evaluation mode, N x I x H x W -> N x O x H x W."""

    def __call__(self, x_nchw: Tensor) -> Tensor: ...

    def branches(self) -> Sequence[Sequence[Conv]]:
        """What the layer computes with population statistics, as a sum of chains of convolutions, for folding."""
        ...


LayerFactory = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, expansion) -> a `LinearLayer`."""


@dataclass(frozen=True)
class Stage:
    """One linear layer with the activation after it (None after the tail). The names are the state-dict prefixes."""

    name: str
    layer: LinearLayer
    act_name: str
    act: nn.Module | None


LAYERS: dict[Family, tuple[LayerFactory, LayerFactory]] = {
    "plain": (PlainConv, PlainConv),
    "repsr": (PlainConv, RepSRBlock),
    "ecbsr": (ECB, ECB),
}
"""Family -> (head and tail, block)."""

INITIAL_TAIL_GAIN = 0.1


class Network(nn.Module):
    """A super-resolution network, N x C x H x W in 0..1 -> N x C x sH x sW, unclamped; C is 3 (RGB) or 1 (Y)."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        make_end, make_block = LAYERS[spec.family]
        width = spec.channels
        self.head = make_end(spec.colours, width, spec.expansion)
        self.head_act = PReLU(width)
        self.body = nn.ModuleList(make_block(width, width, spec.expansion) for _ in range(spec.blocks))
        self.body_acts = nn.ModuleList(PReLU(width) for _ in range(spec.blocks))
        self.tail = make_end(width, spec.colours * spec.scale**2, spec.expansion)
        with torch.no_grad():  # a new network is nearly its nearest-neighbour skip
            for parameter in self.tail.parameters():
                parameter.mul_(INITIAL_TAIL_GAIN)

    def stages(self) -> Iterator[Stage]:
        """The layers in the order in which they run."""
        yield Stage("head", cast("LinearLayer", self.head), "head_act", self.head_act)
        for index, (block, act) in enumerate(zip(self.body, self.body_acts, strict=True)):
            yield Stage(f"body.{index}", cast("LinearLayer", block), f"body_acts.{index}", act)
        yield Stage("tail", cast("LinearLayer", self.tail), "", None)

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x sH x sW."""
        features = x_nchw
        for stage in self.stages():
            features = stage.layer(features)
            if stage.act is not None:
                features = stage.act(features)
        skip = x_nchw.repeat_interleave(self.spec.scale**2, dim=1)
        return F.pixel_shuffle(features + skip, self.spec.scale)


def build(spec: NetSpec) -> Network:
    """A freshly initialised network in training mode."""
    return Network(spec)


def num_parameters(net: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in net.parameters())


def macs_per_lr_pixel(net: nn.Module) -> int:
    """Multiply-accumulates of all convolutions for each LR pixel; nothing else is counted."""
    convolutions = sum(module.weight.numel() for module in net.modules() if isinstance(module, nn.Conv2d))
    return convolutions + sum(module.macs for module in net.modules() if isinstance(module, EdgeBranch))


def num_nodes(net: nn.Module) -> int:
    """Leaf operations: convolutions, norms and activations."""
    return sum(1 for module in net.modules() if not any(True for _ in module.children()))
