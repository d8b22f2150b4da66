"""What the channels of a network hold while it looks at pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.folding.graph.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Of a value N x C x H x W."""

    largest_c: NDArray[np.float64]
    """Largest absolute value of every channel."""
    mean_c: NDArray[np.float64]
    """Mean of every channel."""


Observed = Mapping[str, Channels]
"""By the name of the value."""


def observe(model: ir.Model, names: Collection[str], images: Iterable[Tensor]) -> Observed:
    """Run a graph with one input on images, 1 x C x H x W each, and look at the values called `names`.

    Raises:
        FoldError: the graph cannot be evaluated.
    """
    largest: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    means: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}

    def look(value: ir.Value, tensor: Tensor) -> Tensor:
        name = str(value.name)
        if name in largest:
            largest[name].append(tensor.abs().amax(dim=(0, 2, 3)).numpy())
            means[name].append(tensor.mean(dim=(0, 2, 3)).numpy())
        return tensor

    source = str(model.graph.inputs[0].name)
    for image in images:
        evaluate(model, {source: image}, hand=look)
    return {
        name: Channels(largest_c=np.max(largest[name], axis=0), mean_c=np.mean(means[name], axis=0)) for name in names
    }


def widened(usual: Observed, more: Observed) -> Observed:
    """The means of `usual`, with the largest values of both."""
    return {
        name: Channels(largest_c=np.maximum(channels.largest_c, more[name].largest_c), mean_c=channels.mean_c)
        for name, channels in usual.items()
    }
