"""The models on a command line, read: what they are, and which fp32 model each is compared with."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repsr_deploy.bench.contestant import Form
from repsr_deploy.checkpoint import is_checkpoint, is_foreign
from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.runtimes.source import stated_info
from repsr_deploy.weights import bundled_names, find_model

TRAIN_EXTRA = "`pip install repsr-deploy[train]`"
Network = Any
"""`nets.network.Network`: PyTorch is loaded only where there is a checkpoint to measure."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model that is given."""

    model: str
    """As the user named it."""
    file: Path
    """What runtimes open; of a checkpoint its fold."""
    info: ModelInfo
    folder: Path
    """For files made of it; empty."""
    checkpoint: Path | None = None
    net: Network | None = None
    """Of the checkpoint, before it is folded."""
    notes: list[str] = field(default_factory=list[str])

    @property
    def form(self) -> Form:
        """Of `file`."""
        return "as it is" if self.checkpoint is None else "folded"

    @property
    def is_onnx(self) -> bool:
        """Whether every runtime may try it; else it was made by one for itself."""
        return self.file.suffix.lower() == ".onnx"

    @property
    def is_reference(self) -> bool:
        """Whether others can be compared with it."""
        return self.is_onnx and self.info.precision == "fp32" and self.info.io == "float"


def read_source(model: str, scratch: Path) -> Source:
    """Read a bundled name, an .onnx file, a checkpoint of ours, or an engine.

    Args:
        scratch: a folder for what is made of it.

    Raises:
        UsageError: no such file, or a checkpoint of another project.
        RepsrError: it cannot be read or folded.
    """
    path = find_model(model)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    if is_foreign(path):
        raise UsageError(
            f"{path} is a checkpoint of another project; fold and export it first: `repsr-fuse export {path} --out "
            f"{path.with_suffix('.onnx').name}`"
        )
    if is_checkpoint(path):
        return _fold(model, path, folder)
    info = _info(path)
    if model not in bundled_names():
        return Source(model=model, file=path, info=info, folder=folder)
    if not has_torch():
        note = f"{model} is not measured with its branches, nor in PyTorch, which is not installed; {TRAIN_EXTRA}"
        return Source(model=model, file=path, info=info, folder=folder, notes=[note])
    from repsr_deploy.checkpoint import load_checkpoint

    checkpoint = path.with_suffix(".safetensors")
    net = load_checkpoint(checkpoint)[0]
    return Source(model=model, file=path, info=info, folder=folder, checkpoint=checkpoint, net=net)


def reference_of(source: Source, sources: Sequence[Source]) -> Source:
    """The fp32 model whose picture `source` must give: itself, or another of `sources`.

    Raises:
        UsageError: none, or more than one.
    """
    info = source.info
    if source.is_reference:
        return source
    network = (info.name, info.scale, info.colour)
    same = [
        other
        for other in sources
        if other.is_reference and (other.info.name, other.info.scale, other.info.colour) == network
    ]
    if len(same) == 1:
        return same[0]
    raise UsageError(
        f"{source.model} ({info.precision}, io {info.io}) is compared with the fp32 .onnx model or the checkpoint of "
        f"the same network, {info.name} x{info.scale}; {len(same)} of the models given are that, expected 1"
    )


def has_torch() -> bool:
    """Whether networks can be read and counted."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "onnx_ir", "safetensors"))


def _fold(model: str, path: Path, folder: Path) -> Source:
    """Fold a checkpoint, with its proof, into a model."""
    from repsr_deploy.checkpoint import load_checkpoint
    from repsr_deploy.export.onnx import build_model
    from repsr_deploy.folding.fold import fold

    net = load_checkpoint(path)[0]
    after = fold(net).net
    spec = net.spec
    info = ModelInfo(
        name=after.spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour, width=spec.folded.width
    )
    file = folder / f"{path.stem}.onnx"
    file.write_bytes(build_model(after, info).SerializeToString())
    return Source(model=model, file=file, info=info, folder=folder, checkpoint=path, net=net)


def _info(path: Path) -> ModelInfo:
    """What a file says about itself, whoever can run it; of a foreign .onnx, what ONNX Runtime finds out."""
    if path.suffix.lower() != ".onnx":
        return open_runtime(path).info
    from google.protobuf.message import DecodeError

    try:
        stated = stated_info(path)
    except (OSError, DecodeError):
        stated = None  # ONNX Runtime will say what is wrong with the file
    return stated or open_runtime(path, "onnxruntime").info
