"""Losses: what training brings down, on float32 images N x C x H x W in 0..1."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.metrics.colour import MATRIX
from repsr_train.config import Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(output, target) of the same shape -> a number without dimensions."""


def charbonnier(output: Tensor, target: Tensor, eps: float) -> Tensor:
    """Mean of sqrt(difference^2 + eps^2), an L1 that is smooth at 0 (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt((output - target).square() + eps**2).mean()


def luma(rgb_nchw: Tensor) -> Tensor:
    """BT.601 luma N x 1 x H x W of RGB N x 3 x H x W, of the same range 0..1 (white is 1, as for R, G and B)."""
    weights = torch.tensor(MATRIX[0] / MATRIX[0].sum(), dtype=rgb_nchw.dtype, device=rgb_nchw.device)
    return (rgb_nchw * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def loss_function(recipe: Recipe) -> LossFunction:
    """The loss that a recipe asks for."""
    eps, share = recipe.charbonnier_eps, recipe.luma_weight
    measures: dict[str, LossFunction] = {
        "l1": F.l1_loss,
        "l2": F.mse_loss,
        "charbonnier": lambda output, target: charbonnier(output, target, eps),
    }
    measure = measures[recipe.loss]
    if share == 0:
        return measure

    def mixed(output: Tensor, target: Tensor) -> Tensor:
        return (1 - share) * measure(output, target) + share * measure(luma(output), luma(target))

    return mixed
