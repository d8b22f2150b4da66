"""The scales that a network was fine-tuned with: they travel in the history of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from repsr_deploy.errors import ModelFileError
from repsr_deploy.export.int8.calibrate import quantizable
from repsr_deploy.export.int8.plan import QuantLayer, QuantPlan

STAGE = "int8"

Scales = Mapping[str, float]
"""Name of a convolution's weights -> what one step of its int8 input is worth."""


def history_entry(plan: QuantPlan) -> dict[str, Any]:
    """The entry that keeps a plan's scales."""
    return {"stage": STAGE, "input_scales": {layer.weight: layer.input_scale for layer in plan.layers}}


def tuned_scales(history: Sequence[Mapping[str, Any]]) -> Scales | None:
    """The scales that weights were last prepared with; None where they never were."""
    return next((entry["input_scales"] for entry in reversed(history) if entry.get("stage") == STAGE), None)


def tuned_plan(model: ir.Model, history: Sequence[Mapping[str, Any]]) -> QuantPlan | None:
    """The plan that a network was fine-tuned with; None where it was not.

    Raises:
        ModelFileError: the history names weights that the graph does not have.
    """
    scales = tuned_scales(history)
    if scales is None:
        return None
    layers = {str(layer.node.inputs[1].name): layer.node for layer in quantizable(model) if layer.node.inputs[1]}
    if missing := scales.keys() - layers.keys():
        raise ModelFileError(
            f"the network was fine-tuned in int8 with weights {', '.join(sorted(missing))}, which the graph does not "
            "have; export the checkpoint that repsr-train qat wrote"
        )
    return QuantPlan(
        layers=tuple(
            QuantLayer(name=str(node.name), input=str(node.inputs[0].name), weight=weight, input_scale=scales[weight])
            for weight, node in layers.items()
            if weight in scales and node.inputs[0] is not None
        )
    )
