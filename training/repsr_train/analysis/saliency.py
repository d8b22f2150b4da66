"""Channel saliency maps of Reflash Dropout (Kong et al., arXiv 2112.12089; fact sheet 4.4).

T(SR) measures how much structure the output has; the gradient of T says how much each number of a feature map takes
part in making it. Without dropout a few channels dominate; with dropout the channels become equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.nets.base import Network
from repsr_train.analysis.features import layers_of, run_with_features

PROTOCOL = (
    "T(SR): sum over colours and pixels of sqrt((d_h SR)^2 + (d_w SR)^2), forward differences, subgradient 0 where "
    "flat; map: |dT/dF| / its maximum over the layer; score of a channel: sum of its map over the pixels; "
    "gini: 0 when all channels score the same, 1 when one has everything"
)


@dataclass(frozen=True, kw_only=True)
class LayerSaliency:
    """Saliency of the channels of one feature map."""

    maps_chw: NDArray[np.float32]
    """|dT/dF| divided by its maximum over the layer: 0..1."""
    scores: NDArray[np.float64]
    """Sum of each channel's map over its pixels: 0 to H W."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each channel's part of the layer's scores; they add up to 1."""
        return self.scores / self.scores.sum()

    @property
    def order(self) -> NDArray[np.intp]:
        """Channels, highest score first."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def gini(self) -> float:
        """How unequal the scores are; see `gini`."""
        return gini(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"gini": self.gini, "scores": self.scores.tolist()}


def saliency(net: Network, image_nchw: Tensor) -> dict[str, LayerSaliency]:
    """The channel saliency of every named feature map, in the order of computation.

    Args:
        net: in evaluation mode; it is not modified.
        image_nchw: LR image, 1 x C x H x W as the network sees it.

    Raises:
        UsageError: the network is in training mode.
        RepsrError: T does not depend on a layer (a flat output, a layer of zeros).
        ModelFileError: the gradient is not finite.
    """
    layers_of(net)
    with torch.enable_grad():
        output_nchw, features = run_with_features(net, image_nchw.detach().requires_grad_())
        gradients = torch.autograd.grad(total_gradient(output_nchw), list(features.values()))
    return {
        name: _layer_saliency(f"{name} of {net.spec.name}", gradient)
        for name, gradient in zip(features, gradients, strict=True)
    }


def total_gradient(image_nchw: Tensor) -> Tensor:
    """T(SR): the length of the spatial gradient, summed over images, colours and the (H - 1) x (W - 1) pixels.

    Forward differences. The length has no derivative where both differences are 0; there the subgradient 0 is taken,
    so that flat areas give neither NaN nor, as a small constant under the root would, a changed T.
    """
    corner = image_nchw[..., :-1, :-1]
    differences = torch.stack((image_nchw[..., 1:, :-1] - corner, image_nchw[..., :-1, 1:] - corner))
    return torch.linalg.vector_norm(differences, dim=0).sum()


def gini(scores: NDArray[np.float64]) -> float:
    """Gini coefficient of n scores of at least 0, corrected for n: 0 when all are equal, 1 when one has everything.

    sum_i (2 i - n - 1) s_i / ((n - 1) sum_i s_i) with s ascending and i from 1, which is the mean absolute difference
    of two different scores over twice their mean; 0 for a single score.
    """
    n = len(scores)
    if n == 1:
        return 0.0
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(ranks @ np.sort(scores) / ((n - 1) * scores.sum()))


def _layer_saliency(name: str, gradient_nchw: Tensor) -> LayerSaliency:
    magnitude_chw = gradient_nchw[0].abs().cpu()
    peak = magnitude_chw.max().item()
    if not np.isfinite(peak):
        raise ModelFileError(f"the gradient at layer {name} is {peak}; the network's weights are broken")
    if peak == 0:
        raise RepsrError(
            f"the output's structure does not depend on layer {name} at all; choose an image with structure"
        )
    maps_chw = (magnitude_chw / peak).numpy()
    return LayerSaliency(
        maps_chw=maps_chw.astype(np.float32, copy=False), scores=maps_chw.sum(axis=(1, 2), dtype=np.float64)
    )
