"""Fold our own networks: a block states its branches, the algebra merges them, the proof compares before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.algebra import merge
from repsr_deploy.folding.proof import Proof, prove
from repsr_deploy.nets.network import Network, build


@dataclass(frozen=True)
class FoldResult:
    """A plain network, in evaluation mode and in the data type of its origin, and the proof of its equality."""

    net: Network
    proof: Proof


def folded_parameters(net: Network) -> dict[str, Tensor]:
    """Parameters of the plain network that `net` is with population statistics: float64, differentiable.

    The keys are those of the plain network's state dict. `net` is not modified, and its mode does not matter.

    Raises:
        FoldError: a layer cannot be folded exactly; the message names it.
    """
    parameters: dict[str, Tensor] = {}
    for stage in net.stages():
        try:
            merged = merge(stage.layer.branches())
        except FoldError as error:
            raise FoldError(f"{net.spec.name}, {stage.name}: {error}") from error
        if merged.radius != 1 or merged.border_i.any():
            raise FoldError(f"{net.spec.name}, {stage.name}: does not fold into a zero-padded 3x3 convolution")
        parameters[f"{stage.name}.weight"] = merged.weight_oihw
        parameters[f"{stage.name}.bias"] = merged.bias_o
        if stage.act is not None:
            slopes = {f"{stage.act_name}.{key}": value.double() for key, value in stage.act.named_parameters()}
            parameters.update(slopes)
    return parameters


def fold(net: Network, photographs: Mapping[str, Tensor] | None = None) -> FoldResult:
    """Fold `net` into a plain network and prove that nothing changed; `net` is not modified, its mode does not matter.

    Args:
        net: a network of any family.
        photographs: more probe images for the proof, name -> N x C x H x W in 0..1, beside the built-in ones.

    Raises:
        FoldError: a layer cannot be folded exactly.
        ProofError: the folded network does not compute what `net` computes; carries the figures.
    """
    with torch.no_grad():
        parameters = folded_parameters(net)
        exact = build(net.spec.folded).double().eval()
        exact.load_state_dict(parameters)
        stored = build(net.spec.folded).to(next(net.parameters()).dtype).eval()
        stored.load_state_dict(parameters)
    proof = prove(net, exact, stored, photographs or {})
    return FoldResult(net=stored, proof=proof)
