"""What every network has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from torch import Tensor, nn

from repsr_deploy.nets.ops import Eager, Ops
from repsr_deploy.nets.spec import NetSpec

T = TypeVar("T")

_EAGER = Eager()


class Network(nn.Module, ABC):
    """A super-resolution network, N x C x H x W in 0..1 -> N x C x sH x sW, unclamped; C is 3 (RGB) or 1 (Y)."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec

    @abstractmethod
    def graph(self, ops: Ops[T], x: T) -> T:
        """The network in terms of `ops`: the one place that says what is applied to what."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """N x C x H x W -> N x C x sH x sW."""
        return self.graph(_EAGER, x_nchw)
