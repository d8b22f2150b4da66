"""From a description to its network, and what a network consists of and costs."""

from __future__ import annotations

from typing import Any

from torch import nn

from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ecbsr import EdgeBranch
from repsr_deploy.nets.edsr import Edsr
from repsr_deploy.nets.modulation import AdaptiveModulation
from repsr_deploy.nets.ops import LinearLayer, Ops
from repsr_deploy.nets.spec import EdsrSpec, NetSpec, SrresnetSpec, StackSpec, WdsrSpec
from repsr_deploy.nets.srresnet import Srresnet
from repsr_deploy.nets.stack import Stack
from repsr_deploy.nets.wdsr import Wdsr
from repsr_deploy.nets.weight_norm import WeightNormConv

__all__ = ["Network", "build", "linear_layers", "macs_per_lr_pixel", "num_nodes", "num_parameters"]

NETWORKS: dict[type[NetSpec], Any] = {StackSpec: Stack, WdsrSpec: Wdsr, EdsrSpec: Edsr, SrresnetSpec: Srresnet}
"""Description -> network."""


def build(spec: NetSpec) -> Network:
    """A freshly initialised network in training mode."""
    return NETWORKS[type(spec)](spec)


class _Walk(Ops[int]):
    """Follows the resolution, in pixels for each LR pixel, and meets every layer in the order in which they run."""

    def __init__(self) -> None:
        self.layers: dict[str, tuple[LinearLayer, int]] = {}

    def linear(self, name: str, layer: LinearLayer, x: int) -> int:
        self.layers[name] = (layer, x)
        return x

    def activation(self, name: str, layer: nn.Module, x: int) -> int:
        return x

    def add(self, x: int, y: int) -> int:
        assert x == y
        return x

    def shuffle(self, x: int, factor: int) -> int:
        return x * factor**2

    def repeat(self, x: int, times: int) -> int:
        return x

    def bilinear(self, x: int, factor: int) -> int:
        return x * factor**2

    def modulate(self, name: str, layer: AdaptiveModulation, features: int, source: int) -> int:
        return features


def _walked(net: Network) -> dict[str, tuple[LinearLayer, int]]:
    walk = _Walk()
    net.graph(walk, 1)
    return walk.layers


def linear_layers(net: Network) -> dict[str, LinearLayer]:
    """Every layer that folds into one convolution, by its state-dict prefix, in the order in which they run."""
    return {name: layer for name, (layer, _) in _walked(net).items()}


def num_parameters(net: nn.Module) -> int:
    """Trainable numbers; the gains of weight norm count, as in WDSR's tables."""
    return sum(parameter.numel() for parameter in net.parameters())


def macs_per_lr_pixel(net: Network) -> int:
    """Multiply-accumulates of all convolutions for each LR pixel; nothing else is counted."""
    return sum(_macs(layer) * pixels for layer, pixels in _walked(net).values())


def _macs(layer: Any) -> int:
    kernels = (module for module in layer.modules() if isinstance(module, nn.Conv2d | WeightNormConv))
    edges = (module for module in layer.modules() if isinstance(module, EdgeBranch))
    return sum(kernel.weight.numel() for kernel in kernels) + sum(edge.macs for edge in edges)


def num_nodes(net: nn.Module) -> int:
    """Leaf operations: convolutions, norms and activations."""
    return sum(1 for module in net.modules() if not any(True for _ in module.children()))
