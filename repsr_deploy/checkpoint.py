"""Checkpoints: weights in safetensors, and in its metadata what they are and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.files import atomic_path
from repsr_deploy.nets.spec import NetSpec, spec_from_json

if TYPE_CHECKING:
    from torch import Tensor

    from repsr_deploy.nets.network import Network

FORMAT = "repsr-checkpoint-1"


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """Self-description of a checkpoint."""

    spec: NetSpec
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What made the weights, oldest first; a training run says step, recipe, its hash, data fingerprint and metrics."""
    data_licence: str = ""
    """Licences of the photographs that trained the weights; empty when unknown."""
    psnr: dict[str, Any] = field(default_factory=dict[str, Any])
    """PSNR table, dB: data set to value."""

    def to_metadata(self) -> dict[str, str]:
        """String pairs for the safetensors header."""
        rest = {"history": self.history, "data_licence": self.data_licence, "psnr": self.psnr}
        return {"format": FORMAT, "spec": self.spec.to_json(), "info": json.dumps(rest, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> CheckpointInfo:
        """The inverse of `to_metadata`.

        Raises:
            RepsrError, ValueError, KeyError, TypeError: not what `to_metadata` wrote.
        """
        return cls(spec=spec_from_json(metadata["spec"]), **json.loads(metadata["info"]))


def is_checkpoint(path: Path) -> bool:
    """Whether the file name is that of a checkpoint; the content is judged when it is read."""
    return Path(path).suffix.lower() == ".safetensors"


def is_foreign(path: Path) -> bool:
    """Whether a file holds weights of another project, by its name and, for .safetensors, what it says of itself."""
    if Path(path).suffix.lower() in (".pth", ".pt", ".ckpt"):
        return True
    return is_checkpoint(path) and Path(path).is_file() and load_metadata(path).get("format") != FORMAT


def load_metadata(path: Path) -> dict[str, str]:
    """String pairs of a safetensors file.

    Raises:
        ModelFileError: not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a readable safetensors file ({error}); write it again") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and string pairs to a safetensors file, atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {key: value.detach().contiguous().cpu() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, dict(metadata))
        except SafetensorError as error:
            raise RepsrError(f"cannot write {path}: {error}; choose a writable place with free space") from error


def save_checkpoint(path: Path, net: Network, info: CheckpointInfo) -> None:
    """Write the weights of `net` and `info` to a .safetensors file, atomically."""
    assert net.spec == info.spec
    save_tensors(path, net.state_dict(), info.to_metadata())


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors, on the CPU, and its metadata.

    Raises:
        ModelFileError: no such file, or not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"no file {path}; expected a .safetensors file written by repsr-train")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is not a readable safetensors file ({error}); write it again") from error


def load_checkpoint(path: Path) -> tuple[Network, CheckpointInfo]:
    """Read a checkpoint: the network in evaluation mode, in the data type of the file, and its description.

    Raises:
        ModelFileError: no such file, no checkpoint of ours, or weights that do not fit the description.
    """
    from repsr_deploy.nets.network import build

    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is safetensors but no checkpoint of this tool: its format is {metadata.get('format')!r}, "
            f"expected {FORMAT!r}; checkpoints come from repsr-train"
        )
    try:
        info = CheckpointInfo.from_metadata(metadata)
        net = build(info.spec)
        net.load_state_dict(tensors, assign=True)
    except (RepsrError, RuntimeError, ValueError, KeyError, TypeError) as error:
        cause = " ".join(str(error).split())
        raise ModelFileError(f"{path} does not hold what it says ({cause[:300]}); write it again") from error
    return net.eval(), info
