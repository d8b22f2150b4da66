"""Models for tests, with random weights: made here, never stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch

from repsr_deploy.export.onnx import build_model
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import Colour, NetSpec, StackSpec


def plain_model(spec: NetSpec, seed: int = 0, *, info: ModelInfo | None = None) -> onnx.ModelProto:
    """A plain network with random weights, biases and slopes, none of them zero."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}

    def conv(name: str, inputs: int, outputs: int) -> None:
        arrays[f"{name}.weight"] = random.normal(0, (inputs * 9) ** -0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        arrays[f"{name}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)

    conv("head", spec.colours, spec.channels)
    arrays["head_act.weight"] = random.uniform(-0.3, 0.5, spec.channels).astype(np.float32)
    for block in range(spec.blocks):
        conv(f"body.{block}", spec.channels, spec.channels)
        arrays[f"body_acts.{block}.weight"] = random.uniform(-0.3, 0.5, spec.channels).astype(np.float32)
    conv("tail", spec.channels, spec.colours * spec.scale**2)
    info = info or ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour, width=spec.channels)
    net = build(spec)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in arrays.items()})
    return build_model(net, info)


def spec_of(scale: int = 2, blocks: int = 2, channels: int = 8, colour: Colour = "rgb") -> StackSpec:
    """A small plain network."""
    return StackSpec(family="plain", scale=scale, blocks=blocks, channels=channels, colour=colour)


def foreign(model: onnx.ModelProto) -> bytes:
    """The same network without a word about itself."""
    del model.metadata_props[:]
    return model.SerializeToString()
