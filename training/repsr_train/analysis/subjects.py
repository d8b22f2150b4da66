"""The trained networks that an analysis is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy.checkpoint import load_checkpoint
from repsr_deploy.errors import UsageError
from repsr_deploy.files import sha256
from repsr_deploy.nets.base import Network
from repsr_train.analysis.features import check_layers


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A checkpoint with a name that tells it from the others of the same analysis."""

    label: str
    path: Path
    net: Network

    def describe(self) -> dict[str, Any]:
        """Plain JSON values."""
        network = json.loads(self.net.spec.to_json())
        return {"file": self.path.name, "sha256": sha256(self.path.read_bytes()), "network": network}


def load_subjects(checkpoints: Sequence[Path], layers: Sequence[str] = ()) -> list[Subject]:
    """Read checkpoints, each of which must have the named layers.

    They are called after their networks, or after their files where the networks have the same name.

    Raises:
        ModelFileError: a file is no checkpoint.
        UsageError: a file is named twice, the networks differ in scale or in their layers, or lack one.
    """
    if len({path.resolve() for path in checkpoints}) < len(checkpoints):
        raise UsageError(f"{checkpoints[0]} is compared with itself; expected two checkpoints")
    nets = [load_checkpoint(path)[0] for path in checkpoints]
    first, *others = ((net.spec.scale, tuple(check_layers(net, layers).channels)) for net in nets)
    for path, other in zip(checkpoints[1:], others, strict=True):
        if other != first:
            raise UsageError(
                f"{checkpoints[0]} is x{first[0]} with layers {_span(first[1])}, {path} is x{other[0]} with layers "
                f"{_span(other[1])}; expected networks of one scale with the same layers"
            )
    names = [net.spec.name for net in nets]
    files = [str(Path(path.parent.name) / path.name) for path in checkpoints]
    labels = next(each for each in (names, files, [str(path) for path in checkpoints]) if len({*each}) == len(each))
    return [
        Subject(label=label, path=path, net=net) for label, path, net in zip(labels, checkpoints, nets, strict=True)
    ]


def _span(names: Sequence[str]) -> str:
    return f"{names[0]} to {names[-1]} ({len(names)})"
