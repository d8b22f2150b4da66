"""Weights from and for the field: our checkpoints, bare safetensors, .pth files of BasicSR and its relatives."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from repsr_deploy.checkpoint import FORMAT, CheckpointInfo, load_tensors
from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.files import atomic_path
from repsr_deploy.nets.network import Network

CONTAINERS = (
    *("params_ema", "params-ema", "state_dict_ema", "model_ema", "net_ema"),
    *("params", "state_dict", "model_state_dict", "model", "net"),
)
"""Keys under which files keep their weights, averaged ones first."""
PREFIXES = ("module.", "netG.")
"""What wrappers put before every name."""
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
    if not path.is_file():
        raise ModelFileError(f"no file {path}; expected weights as .safetensors or .pth")
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = load_tensors(path)
        history = CheckpointInfo.from_metadata(metadata).history if metadata.get("format") == FORMAT else []
        return Weights(_in_our_names(tensors), "", history)
    tensors, found = _unwrap(_load_pickle(path))
    if not tensors:
        raise ModelFileError(f"{path} holds no tensors where weights are expected ({', '.join(CONTAINERS)}, or bare)")
    return Weights(_in_our_names(tensors), found)


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


def _load_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds more than tensors, which is not read, for safety; expected .safetensors or a state dict"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is not readable as weights ({' '.join(str(error).split())[:200]})") from error


def _unwrap(content: Any) -> tuple[dict[str, Tensor], str]:
    """The innermost mapping of tensors, and the keys that lead to it."""
    found: list[str] = []
    while isinstance(content, Mapping):
        container = next((key for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if container is None:
            tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
            return _without_prefixes(tensors), ".".join(found)
        found.append(container)
        content = content[container]
    return {}, ""


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return _without_prefixes({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors


def _in_our_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of BasicSR's Compact network (SRVGGNetCompact: body.0, body.1, ...) as ours; others are left as they are.

    It is our plain network: convolutions and PReLU by turns, PixelShuffle, a nearest-neighbour skip.
    """
    matches = [re.fullmatch(r"body\.(\d+)\.(weight|bias)", key) for key in tensors]
    if not matches or not all(matches):
        return tensors
    last = max(int(cast("re.Match[str]", match)[1]) for match in matches)
    names = _compact_names((last - 2) // 2)
    return {names[key]: value for key, value in tensors.items()} if set(tensors) == set(names) else tensors


def _in_their_names(net: Network) -> dict[str, Tensor]:
    tensors = net.state_dict()
    if net.spec.family != "plain":
        return tensors
    ours = {own: theirs for theirs, own in _compact_names(net.spec.blocks).items()}
    return {ours[key]: value for key, value in tensors.items()}


def _compact_names(blocks: int) -> dict[str, str]:
    """Name in Compact -> name in our plain network, for M blocks: 2 M + 3 layers."""
    convs = ["head", *(f"body.{index}" for index in range(blocks)), "tail"]
    acts = ["head_act", *(f"body_acts.{index}" for index in range(blocks))]
    names = {
        f"body.{2 * place}.{kind}": f"{conv}.{kind}" for place, conv in enumerate(convs) for kind in ("weight", "bias")
    }
    return names | {f"body.{2 * place + 1}.weight": f"{act}.weight" for place, act in enumerate(acts)}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(title: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return f"{title}: {', '.join(items[:NAMED])}{more}"
