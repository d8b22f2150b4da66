"""Looking into a network: its named feature maps, and the network with one of them changed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ops import Eager, LinearLayer

LAST_CONVOLUTION = "tail"
"""What every network calls its last convolution over the features."""
PROBE_SIDE = 2
"""LR pixels of the image that finds out which features there are: the deviation of AdaDM needs more than one."""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The named feature maps of a network."""

    channels: dict[str, int]
    """Name -> number of channels, in the order in which they are computed."""
    before_last_convolution: str
    """What the last convolution reads: `hr` in SRResNet."""
    deepest_at_lr: str
    """The last one before that convolution with one number for each channel and LR pixel: the last block's."""


class _Captured(Eager):
    """Runs a network and keeps its named features."""

    def __init__(self) -> None:
        self.features: dict[str, Tensor] = {}
        self.before_last_convolution: tuple[str, ...] = ()

    def linear(self, name: str, layer: LinearLayer, x: Tensor) -> Tensor:
        if name == LAST_CONVOLUTION:
            self.before_last_convolution = tuple(self.features)
        return super().linear(name, layer, x)

    def feature(self, name: str, x: Tensor) -> Tensor:
        self.features[name] = x
        return x


class _Changed(Eager):
    """Runs a network with a function of one of its named features in that feature's place."""

    def __init__(self, name: str, change: Callable[[Tensor], Tensor]) -> None:
        self._name, self._change = name, change

    def feature(self, name: str, x: Tensor) -> Tensor:
        return self._change(x) if name == self._name else x


@torch.no_grad()
def layers_of(net: Network) -> Layers:
    """The named feature maps of a network in evaluation mode.

    Raises:
        UsageError: the network is in training mode, where dropout and BatchNorm would change what is looked at.
    """
    if net.training:
        raise UsageError(f"{net.spec.name} is in training mode; call eval() before looking into it")
    like = next(net.parameters())
    probe = _Captured()
    net.graph(probe, like.new_zeros(1, net.spec.colours, PROBE_SIDE, PROBE_SIDE))
    before = probe.before_last_convolution
    at_lr = [name for name in before if probe.features[name].shape[-1] == PROBE_SIDE]
    channels = {name: features.shape[1] for name, features in probe.features.items()}
    return Layers(channels=channels, before_last_convolution=before[-1], deepest_at_lr=at_lr[-1])


def check_layers(net: Network, wanted: Iterable[str]) -> Layers:
    """`layers_of`, sure to have the `wanted` names.

    Raises:
        UsageError: no such layer, with the nearest name and all of them; or the network is in training mode.
    """
    layers = layers_of(net)
    for name in wanted:
        if name not in layers.channels:
            near = difflib.get_close_matches(name.lower(), layers.channels, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"{net.spec.name} has no layer {name!r}; {hint}its layers are {', '.join(layers.channels)}"
            )
    return layers


def run_with_features(net: Network, x_nchw: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and every named feature map N x C x H x W in the order of computation, all in one autograd graph."""
    captured = _Captured()
    return net.graph(captured, x_nchw), captured.features


def run_with_change(net: Network, x_nchw: Tensor, name: str, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The output with `change(features)` in the place of the features called `name`.

    `change` may return a larger batch than the one that it is given, if that is a single image: what follows runs on
    all of its images, with the skips of the single one.
    """
    return net.graph(_Changed(name, change), x_nchw)
