"""The training state: everything that `--resume` needs to go on bit for bit, in one safetensors file without a pickle.

A state is written beside the old one and takes its name when it is whole and on the disk; the old one is kept as
`state.previous.safetensors`. Whatever happens meanwhile (`kill -9`, a full disk, power), a whole state is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from repsr_deploy.checkpoint import load_tensors, save_tensors
from repsr_deploy.errors import ModelFileError, RepsrError, UsageError
from repsr_deploy.nets.norm import uses_batch_statistics
from repsr_train.config import plain
from repsr_train.step import Learner

STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"
FORMAT = "repsr-training-state-2"

Facts = Mapping[str, Any]
"""What a state says about its run beside the tensors, in types that JSON has."""


def save_state(folder: Path, learner: Learner, facts: Facts) -> None:
    """Write the state of `learner` and `facts` into `folder`; the state that was there becomes the previous one.

    Raises:
        RepsrError: the folder cannot be written to, or the disk is full; what was there is untouched.
    """
    fresh, current = folder / "state.new.safetensors", folder / STATE
    metadata = {
        "format": FORMAT,
        "step": str(learner.step),
        "recipe": learner.recipe.to_json(),
        "statistics": "batch" if uses_batch_statistics(learner.net) else "population",
        "scaler": json.dumps(learner.scaler.state_dict()),
        "facts": json.dumps(facts),
    }
    save_tensors(fresh, {key: value.clone() for key, value in _tensors(learner).items()}, metadata)
    try:
        _flush_to_disk(fresh)
        if current.exists():
            current.replace(folder / PREVIOUS)
        fresh.replace(current)
    except OSError as error:
        raise RepsrError(
            f"cannot write {current}: {error.strerror}; make space, then continue with --resume"
        ) from error


def has_state(folder: Path) -> bool:
    """Whether there is anything to resume from in `folder`."""
    return any((folder / name).exists() for name in (STATE, PREVIOUS))


def load_state(folder: Path, learner: Learner, say: Callable[[str], None]) -> dict[str, Any]:
    """Put `learner` where `save_state` left it and return the facts; falls back to the previous state, and says so.

    Raises:
        ModelFileError: no readable state.
        UsageError: the state was written with another recipe; the message says what differs.
    """
    tensors, metadata = _read(folder, say)
    _refuse_changes(folder, json.loads(metadata["recipe"]), learner.recipe.values())
    learner.step = int(metadata["step"])
    if metadata["statistics"] == "population":
        learner.start_from_population()
    learner.net.load_state_dict(_part(tensors, "net."))
    learner.average.average.load_state_dict(_part(tensors, "average."))
    for key, value in _part(tensors, "guard.").items():
        learner.guard.tensors[key].copy_(value)
    for name, parameter in learner.net.named_parameters():
        if state := _part(tensors, f"optimizer.{name}:"):
            learner.optimizer.state[parameter] = {key: value.to(learner.device) for key, value in state.items()}
    learner.scaler.load_state_dict(json.loads(metadata["scaler"]))
    return json.loads(metadata["facts"])


def _tensors(learner: Learner) -> dict[str, Tensor]:
    tensors = {f"net.{key}": value for key, value in learner.net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in learner.average.average.state_dict().items()}
    tensors |= {f"guard.{key}": value for key, value in learner.guard.tensors.items()}
    for name, parameter in learner.net.named_parameters():
        state = learner.optimizer.state.get(parameter, {})
        tensors |= {f"optimizer.{name}:{key}": value for key, value in state.items()}
    return tensors


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _read(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The newest state in `folder` that is whole."""
    problems: list[str] = []
    for name in (STATE, PREVIOUS):
        try:
            tensors, metadata = load_tensors(folder / name)
        except ModelFileError as error:
            problems.append(str(error))
            continue
        if metadata.get("format") != FORMAT:
            problems.append(f"{folder / name} is no training state (its format is {metadata.get('format')!r})")
            continue
        if problems:
            say(f"{problems[0]}; going on from the older state, step {metadata['step']}")
        return tensors, metadata
    raise ModelFileError(f"cannot resume: {'; '.join(problems)}; train without --resume into another folder")


def _refuse_changes(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    was, now = _flat(before), _flat(after)
    changed = [
        f"{key} was {plain(was.get(key))} and is {plain(now.get(key))}"
        for key in dict.fromkeys((*now, *was))
        if was.get(key) != now.get(key)
    ]
    if changed:
        raise UsageError(
            f"{folder} was trained with another recipe: {', '.join(changed)}; resume with the old values, or train "
            "into another folder (--init-from takes the weights along)"
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _flush_to_disk(path: Path) -> None:
    """Until a file is on the disk, a power failure after its renaming could leave it empty."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
