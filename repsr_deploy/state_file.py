"""Weights as other projects store them: .safetensors, and state dicts that torch.save wrote. Nothing in them is run."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repsr_deploy.checkpoint import load_tensors
from repsr_deploy.errors import ModelFileError

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
"""Names of files that hold weights."""
CONTAINERS = (
    *("params_ema", "params-ema", "state_dict_ema", "model_ema", "net_ema"),
    *("params", "state_dict", "model_state_dict", "model", "net"),
)
"""Keys under which files keep their weights, averaged ones first."""
PREFIXES = ("module.", "netG.", "_orig_mod.")
"""What wrappers put before every name."""


@dataclass(frozen=True)
class State:
    """What a file holds."""

    tensors: dict[str, Tensor]
    """By name, on the CPU, without the prefixes of wrappers."""
    found: str = ""
    """Which of the file's weights these are: `params_ema`, or nothing where there is no choice."""
    metadata: Mapping[str, str] | None = None
    """String pairs of a .safetensors file."""


def read_state(path: Path) -> State:
    """Read a .safetensors file, or one that torch.save wrote.

    Raises:
        ModelFileError: no such file, damaged, more than tensors, or no tensors at all.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"no file {path}; expected weights as {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".safetensors":
        tensors, metadata = load_tensors(path)
        state = State(_without_prefixes(tensors), metadata=metadata)
    else:
        state = State(*_unwrap(_load_pickle(path)))
    if not state.tensors:
        raise ModelFileError(f"{path} holds no tensors where weights are expected ({', '.join(CONTAINERS)}, or bare)")
    return state


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that no network can have.

    Raises:
        ModelFileError: NaN or infinity; the message names the first key.
    """
    for key, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            broken = int((~value.isfinite()).sum())
            raise ModelFileError(
                f"{path}: {key} holds NaN or infinity in {broken} of its {value.numel()} numbers; "
                "expected finite weights, so take another checkpoint of that training"
            )


def _load_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of old pickle protocols and TorchScript; errors tell it all
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds more than tensors{_wanted(error)}, which could run code and is not read; "
            "expected .safetensors or a bare state dict, saved as torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # a damaged pickle can stop its reader with anything: IndexError, struct.error, ...
        if "TorchScript" in str(error):
            cause = "it is a TorchScript program, which could run code"
        else:
            cause = " ".join(str(error).split())[:200] or "it is empty"
        raise ModelFileError(f"{path} is not readable as weights ({cause}); expected a whole state dict") from error


def _wanted(error: pickle.UnpicklingError) -> str:
    """What a pickle asked for, if PyTorch's refusal names it."""
    names = re.findall(r"GLOBAL ([\w.]+)", str(error))
    return f" (it asks for {names[0]})" if names else ""


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
