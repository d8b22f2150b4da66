"""What a network's graph is made of, apart from what is done with it.

A network states its graph once (`Network.graph`), in terms of these operations. Each meaning of them is one class:
running it (`Eager`), running it folded, counting it, recording what reaches a layer, writing it as ONNX.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from repsr_deploy.folding.algebra import Conv
from repsr_deploy.nets.modulation import AdaptiveModulation

T = TypeVar("T")


class LinearLayer(Protocol):
    """A module that is linear in evaluation mode, N x I x H x W -> N x O x H x W."""

    def __call__(self, x_nchw: Tensor) -> Tensor: ...

    def branches(self) -> Sequence[Sequence[Conv]]:
        """What the layer computes with population statistics, as a sum of chains of convolutions, for folding."""
        ...


class Ops(ABC, Generic[T]):
    """One meaning of a network's graph; T stands for a batch of feature maps. Names are state-dict prefixes."""

    @abstractmethod
    def linear(self, name: str, layer: LinearLayer, x: T) -> T:
        """A layer that folds into one convolution."""

    @abstractmethod
    def activation(self, name: str, layer: nn.Module, x: T) -> T:
        """A non-linearity: `PReLU`, `nn.ReLU` or `nn.LeakyReLU`."""

    @abstractmethod
    def add(self, x: T, y: T) -> T:
        """Sum of two maps of the same shape."""

    @abstractmethod
    def shuffle(self, x: T, factor: int) -> T:
        """PixelShuffle: N x C f f x H x W -> N x C x fH x fW."""

    @abstractmethod
    def repeat(self, x: T, times: int) -> T:
        """Every channel `times` times in a row: before `shuffle`, nearest-neighbour enlargement."""

    @abstractmethod
    def bilinear(self, x: T, factor: int) -> T:
        """Bilinear enlargement, pixel centres aligned (align_corners=False)."""

    @abstractmethod
    def modulate(self, name: str, layer: AdaptiveModulation, features: T, source: T) -> T:
        """`features` times a factor that `layer` takes from the deviation of `source`."""

    def dropout(self, layer: nn.Module, x: T) -> T:
        """Dropout; nothing outside of training."""
        del layer
        return x

    def feature(self, name: str, x: T) -> T:
        """Gives `x` a name for those who look at features."""
        del name
        return x


class Eager(Ops[Tensor]):
    """Runs every layer as it is."""

    def linear(self, name: str, layer: LinearLayer, x: Tensor) -> Tensor:
        """The layer itself."""
        del name
        return layer(x)

    def activation(self, name: str, layer: nn.Module, x: Tensor) -> Tensor:
        """The layer itself."""
        del name
        return layer(x)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y."""
        return x + y

    def shuffle(self, x: Tensor, factor: int) -> Tensor:
        """PyTorch's pixel_shuffle."""
        return F.pixel_shuffle(x, factor) if factor > 1 else x

    def repeat(self, x: Tensor, times: int) -> Tensor:
        """PyTorch's repeat_interleave."""
        return x.repeat_interleave(times, dim=1)

    def bilinear(self, x: Tensor, factor: int) -> Tensor:
        """PyTorch's interpolate."""
        return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False) if factor > 1 else x

    def modulate(self, name: str, layer: AdaptiveModulation, features: Tensor, source: Tensor) -> Tensor:
        """The layer itself."""
        del name
        return layer(features, source)

    def dropout(self, layer: nn.Module, x: Tensor) -> Tensor:
        """The layer itself."""
        return layer(x)
