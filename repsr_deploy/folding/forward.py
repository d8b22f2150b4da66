"""Running a network folded without folding it: the equal kernels, computed from the branches at every call."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.folding.algebra import merge
from repsr_deploy.nets.base import Network
from repsr_deploy.nets.ops import Eager, LinearLayer
from repsr_deploy.nets.plain import PlainConv


class _Folded(Eager):
    """Every layer as its single convolution."""

    def linear(self, name: str, layer: LinearLayer, x: Tensor) -> Tensor:
        del name
        if isinstance(layer, PlainConv):
            return layer(x)
        merged = merge(layer.branches())
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        weight, bias = merged.weight_oihw.to(dtype), merged.bias_o.to(dtype)
        out = F.conv2d(x, weight, bias, padding=merged.pads[:2])
        if merged.ones_ohw is None:
            return out
        ones = x.new_ones(1, 1, *x.shape[2:])
        return out + F.conv2d(ones, merged.ones_ohw[:, None].to(dtype), padding=merged.pads[:2])


def folded_forward(net: Network, x_nchw: Tensor) -> Tensor:
    """What `net` gives with population statistics, N x C x H x W -> N x C x sH x sW, through its folded kernels.

    Differentiable down to the parameters of the branches, with the gradients of the branches themselves; several times
    faster than those, as the kernels are small and the images are large. The kernels are computed in float64, the
    images in their own type, inside autocast in its type. `net` is not modified; BatchNorm's mode does not matter.

    Raises:
        FoldError: a layer does not fold exactly.
    """
    return net.graph(_Folded(), x_nchw)
