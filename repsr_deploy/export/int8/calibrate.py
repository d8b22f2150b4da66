"""From a float network and photographs to where it is quantized and with which scales."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import onnx_ir as ir

from repsr_deploy.errors import UsageError
from repsr_deploy.export.int8 import images
from repsr_deploy.export.int8.equalise import equalise
from repsr_deploy.export.int8.layers import Convolution, convolutions
from repsr_deploy.export.int8.observe import Observed, observe, widened
from repsr_deploy.export.int8.plan import QuantLayer, QuantPlan, input_scale
from repsr_deploy.export.int8.qdq import correct_biases, write_qdq
from repsr_deploy.export.pictures import Pictures, extremes
from repsr_deploy.folding.graph.emit import round_weights
from repsr_deploy.model_info import ModelInfo

Ranges = Literal["extremes", "lines", "edges"]
"""Which pictures are not clipped, beside the photographs. `edges`: flat colours and hard edges. `lines`: lines of one
pixel, too. `extremes`: noise and checkerboards of one pixel, too. Room for them costs resolution for all others."""
RANGES: tuple[Ranges, ...] = get_args(Ranges)
"""The widest first."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A network ready to be quantized."""

    model: ir.Model
    """What computes the same in float32, its channels equalised: the plan is for this one."""
    plan: QuantPlan
    ranges: Ranges
    observed: Observed
    """Of the inputs of the plan's layers."""

    def quantized(self, kept: Collection[str] = ()) -> ir.Model:
        """The network in int8, but for the layers `kept`."""
        plan = self.plan.without(kept)
        return write_qdq(correct_biases(self.model, plan, self.observed), plan)


def calibrate(model: ir.Model, info: ModelInfo, photographs: Pictures, ranges: Ranges = "edges") -> Calibration:
    """Equalise a folded network and choose the scales of its int8 convolutions: min-max on all pictures of `ranges`.

    Args:
        model: folded, float32, io `float`; not changed.
        photographs: HR, RGB; their middle is looked at, reduced by the scale.

    Raises:
        UsageError: it has no convolution that can be int8, or no photographs are given.
        FoldError: it cannot be evaluated.
    """
    return calibration_for(model, observe_all(model, info, photographs), ranges)


def observe_all(model: ir.Model, info: ModelInfo, photographs: Pictures) -> dict[Ranges, Observed]:
    """What the inputs of the convolutions hold on the pictures of each of the `Ranges`, widest last.

    Raises:
        UsageError, FoldError: as `calibrate`.
    """
    if not photographs:
        raise UsageError("no photographs to calibrate on; expected at least one")
    names = {_reads(layer) for layer in quantizable(model)}
    multiple = images.multiple_of(model)

    def look(pictures: Pictures) -> Observed:
        return observe(model, names, images.as_inputs(pictures, info, multiple))

    edges = widened(look(images.low(photographs, info)), look(images.edges()))
    lines = widened(edges, look(images.lines()))
    return {"edges": edges, "lines": lines, "extremes": widened(lines, look(extremes()))}


def calibration_for(model: ir.Model, observed: Mapping[Ranges, Observed], ranges: Ranges) -> Calibration:
    """Equalise and plan for what was observed."""
    equal, seen = equalise(model, observed[ranges])
    round_weights(equal.graph)
    layers = tuple(_planned(layer, seen) for layer in quantizable(equal))
    return Calibration(model=equal, plan=QuantPlan(layers=layers), ranges=ranges, observed=seen)


def quantizable(model: ir.Model) -> tuple[Convolution, ...]:
    """The convolutions that can be int8.

    Raises:
        UsageError: there are none.
    """
    found = convolutions(model.graph)
    able = tuple(layer for layer in found if layer.why_float is None)
    if not able:
        reasons = ", ".join(sorted({f"one {layer.why_float}" for layer in found})) or "there is none at all"
        raise UsageError(f"no convolution can be int8: {reasons}; expected a network with inner convolutions")
    return able


def _reads(layer: Convolution) -> str:
    image = layer.node.inputs[0]
    assert image is not None
    return str(image.name)


def _planned(layer: Convolution, observed: Observed) -> QuantLayer:
    weight = layer.node.inputs[1]
    assert weight is not None
    return QuantLayer(
        name=layer.name,
        input=_reads(layer),
        weight=str(weight.name),
        input_scale=input_scale(float(observed[_reads(layer)].largest_c.max())),
    )
