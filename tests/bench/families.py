"""Small networks, models and contestants to measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from repsr_deploy.bench.contestant import Contestant, Family
from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network
from tests.nets.networks import randomized
from tests.nets.networks import spec_of as family_spec
from tests.runtimes.models import plain_model, spec_of


def small_output(name: str = "repsr") -> Network:
    """A random network whose output stays near its skip, as that of trained ones."""
    net = randomized(family_spec(name))
    with torch.no_grad():
        for parameter in net.get_submodule("tail").parameters():
            parameter.mul_(0.05)
    return net


def checkpoint(path: Path, name: str = "repsr") -> Path:
    """A checkpoint of such a network."""
    net = small_output(name)
    save_checkpoint(path, net, CheckpointInfo(spec=net.spec))
    return path


def model(path: Path, seed: int = 0, **changes: Any) -> Path:
    """A folded model, without a word about itself where `changes` are None."""
    spec = spec_of(blocks=1)
    info = ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour, width=spec.channels)
    path.write_bytes(plain_model(spec, seed, info=replace(info, **changes)).SerializeToString())
    return path


def contestant(file: Path, **changes: Any) -> Contestant:
    """That file in ONNX Runtime."""
    values: dict[str, Any] = {
        "model": file.stem,
        "form": "as it is",
        "file": file,
        "stored": "fp32",
        "runtime": "onnxruntime",
        "computes": "fp32",
    }
    return Contestant(**values | changes)


def family(reference: Path, *contestants: Contestant) -> Family:
    """Contestants who are compared with `reference`."""
    info = ModelInfo(name="Plain", scale=2, halo=4)
    macs = {"as it is": 1000.0, "folded": 1000.0, "branches": 3000.0}
    return Family(info=info, reference=reference, contestants=contestants, macs_per_lr_pixel=macs)  # type: ignore[arg-type]
