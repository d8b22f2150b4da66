"""Fold our own networks: a layer states its branches, the algebra merges them, the proof compares before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.algebra import Conv, merge, shift_of
from repsr_deploy.folding.proof import Proof, prove
from repsr_deploy.nets.network import Network, build, linear_layers


@dataclass(frozen=True)
class FoldResult:
    """A folded network, in evaluation mode and in the data type of its origin, and the proof of its equality."""

    net: Network
    proof: Proof


def folded_parameters(net: Network) -> dict[str, Tensor]:
    """The state dict of the folded network that `net` is with population statistics: float64, differentiable.

    The keys are those of `build(net.spec.folded)`. `net` is not modified, and its mode does not matter.

    Raises:
        FoldError: a layer cannot be folded exactly; the message names it.
    """
    layers = linear_layers(net)
    with torch.device("meta"):
        wanted = build(net.spec.folded).state_dict().keys()
    inside = tuple(f"{name}." for name in layers)
    parameters = {key: value.double() for key, value in net.named_parameters() if not key.startswith(inside)}
    for name, layer in layers.items():
        try:
            stored = _stored(merge(layer.branches()), shifts=f"{name}.shift" in wanted)
        except FoldError as error:
            raise FoldError(f"{net.spec.name}, {name}: {error}") from error
        parameters.update({f"{name}.{key}": value for key, value in stored.items()})
    return parameters


def _stored(merged: Conv, *, shifts: bool) -> dict[str, Tensor]:
    """A convolution as the parameters of `ShiftedConv`, which subtracts before it pads, or of `PlainConv`."""
    parameters = {"weight": merged.weight_oihw, "bias": merged.bias_o}
    if not shifts and merged.ones_ohw is None:
        return parameters
    shift = shift_of(merged)
    if shift is None:
        raise FoldError(
            "no values subtracted before a padded convolution do at the border what a bias before it does; its fold "
            "would be exact in the interior only"
        )
    return {**parameters, "shift": shift}


@torch.no_grad()
def folded(net: Network) -> Network:
    """The folded network in evaluation mode, in the data type and on the device of `net`; without a proof.

    Raises:
        FoldError: a layer cannot be folded exactly.
    """
    origin = next(net.parameters())
    return _built(net, folded_parameters(net), origin.dtype).to(origin.device)


@torch.no_grad()
def fold(net: Network, photographs: Mapping[str, Tensor] | None = None) -> FoldResult:
    """Fold `net` and prove that nothing changed; `net` is not modified, its mode does not matter.

    Args:
        net: a network of any family.
        photographs: more probe images for the proof, name -> N x C x H x W in 0..1, beside the built-in ones.

    Raises:
        FoldError: a layer cannot be folded exactly.
        ProofError: the folded network does not compute what `net` computes; carries the figures.
    """
    parameters = folded_parameters(net)
    exact = _built(net, parameters, torch.float64)
    stored = _built(net, parameters, next(net.parameters()).dtype)
    return FoldResult(net=stored, proof=prove(net, exact, stored, photographs or {}))


def _built(net: Network, parameters: Mapping[str, Tensor], dtype: torch.dtype) -> Network:
    plain = build(net.spec.folded).to(dtype).eval()
    try:
        plain.load_state_dict(parameters)
    except RuntimeError as error:
        cause = " ".join(str(error).split())[:300]
        raise FoldError(f"{net.spec.name} does not fold into its plain form: {cause}") from error
    return plain
