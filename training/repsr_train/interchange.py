"""Weights from and for the field: our checkpoints, bare safetensors, .pth files of BasicSR and its relatives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from repsr_deploy.checkpoint import FORMAT, CheckpointInfo
from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.export.compact import compact_names
from repsr_deploy.files import atomic_path
from repsr_deploy.nets.network import Network
from repsr_deploy.state_file import read_state

ENOUGH = 0.5
"""Share of a network's tensors that a file must fill for it to be worth starting from."""
NAMED = 4
"""How many differences an error spells out."""


@dataclass(frozen=True)
class Weights:
    """Tensors by their names in our networks, on the CPU."""

    tensors: dict[str, Tensor]
    found: str
    """Which of the file's weights these are: `params_ema`, or nothing where there is no choice."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What made them, if the file says so."""


@dataclass(frozen=True)
class Fit:
    """How the weights of a file fit a network."""

    taken: dict[str, Tensor]
    fresh: list[str]
    """Names of the network's tensors that nothing in the file fits."""


def read_weights(path: Path) -> Weights:
    """Read a .safetensors file, or one that torch.save wrote; nothing in it is executed.

    Raises:
        ModelFileError: no such file, damaged, or without weights.
    """
    state = read_state(path)
    metadata = state.metadata or {}
    history = CheckpointInfo.from_metadata(metadata).history if metadata.get("format") == FORMAT else []
    return Weights(_in_our_names(state.tensors), state.found, history)


def fit(weights: Mapping[str, Tensor], net: Network, path: Path) -> Fit:
    """What of `weights` fits `net` by name and shape.

    Raises:
        ModelFileError: too little; the message names the differences.
    """
    own = net.state_dict()
    taken = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if len(taken) < ENOUGH * len(own):
        differences = [
            f"{key} is {_shape(weights[key])} there and {_shape(own[key])} here"
            for key in own
            if key in weights and key not in taken
        ]
        missing = [key for key in own if key not in weights]
        unknown = [key for key in weights if key not in own]
        parts = [_listed("other shapes", differences), _listed("missing", missing), _listed("unknown", unknown)]
        raise ModelFileError(
            f"{path} fills only {len(taken)} of the {len(own)} tensors of {net.spec.name} x{net.spec.scale} "
            f"({'; '.join(part for part in parts if part)}); expected weights of the same kind of network"
        )
    return Fit(taken, sorted(set(own) - set(taken)))


def save_pth(path: Path, net: Network, average: Network) -> None:
    """Write both as BasicSR does, {"params": ..., "params_ema": ...}, a plain network in the names of its Compact.

    Raises:
        RepsrError: the file cannot be written.
    """
    both = {
        key: {name: value.detach().cpu().contiguous() for name, value in _in_their_names(net_).items()}
        for key, net_ in (("params", net), ("params_ema", average))
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(both, temporary)
        except RuntimeError as error:
            raise RepsrError(f"cannot write {path}: {error}; choose a writable place with free space") from error


def _in_our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of BasicSR's Compact network (SRVGGNetCompact: body.0, body.1, ...) as ours; others are left as they are.

    It is our plain network: convolutions and PReLU by turns, PixelShuffle, a nearest-neighbour skip.
    """
    matches = [re.fullmatch(r"body\.(\d+)\.(weight|bias)", key) for key in tensors]
    if not matches or not all(matches):
        return tensors
    last = max(int(cast("re.Match[str]", match)[1]) for match in matches)
    names = compact_names((last - 2) // 2)
    return {names[key]: value for key, value in tensors.items()} if set(tensors) == set(names) else tensors


def _in_their_names(net: Network) -> dict[str, Tensor]:
    tensors = net.state_dict()
    if net.spec.family != "plain":
        return tensors
    ours = {own: theirs for theirs, own in compact_names(net.spec.blocks).items()}
    return {ours[key]: value for key, value in tensors.items()}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(title: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return f"{title}: {', '.join(items[:NAMED])}{more}"
