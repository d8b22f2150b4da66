"""Model repositories on disk: a model, or another version of one, appears whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.errors import ModelFileError, RepsrError, UsageError
from repsr_deploy.export.triton.config import BACKENDS, Serving, contract, model_config
from repsr_deploy.export.triton.pbtxt import read, write
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.ports import Port, check_ports
from repsr_deploy.runtimes.source import check_file
from repsr_deploy.runtimes.tensorrt.shapes import Shapes

CONFIG = "config.pbtxt"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
Say = Callable[[str], None]
"""Told what happens while it takes long."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What was written."""

    folder: Path
    """Of the model."""
    version: int
    file: Path
    """The model's file in the version's folder."""


@dataclass(frozen=True, kw_only=True)
class _Model:
    """An .onnx file, read as far as its configuration needs it."""

    path: Path
    info: ModelInfo
    ports: tuple[Port, Port]
    weights: tuple[str, ...]
    """Names of files beside it that hold its weights."""


def add_model(source: Path, repository: Path, name: str, serving: Serving, say: Say) -> Added:
    """Write a model into a repository, as version 1, or as the next version of the model that has that name there.

    Args:
        source: an .onnx file that says what it is.
        repository: folder; made where there is none.
        name: of the model and its folder.

    Raises:
        ModelFileError: no such file.
        UsageError: an impossible name, shapes that the model does not take, or a model of that name is there and is
            another one for its clients.
        RuntimeUnavailableError: the builder of the backend's files is not here.
        RepsrError: the repository cannot be written to.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"model name is {name!r}; expected letters, digits, `_`, `.` and `-`, at most 100")
    model = _read(source)
    message = model_config(name, model.info, model.ports, serving)
    title = f"# {model.info.name}, {model.info.precision}; repsr-fuse triton of repsr-deploy {__version__}\n"
    folder = repository / name
    exists = folder.exists()
    if exists:
        _check_same(folder / CONFIG, write(message))
    try:
        repository.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name[:40]}.", dir=repository) as staging:
            made = Path(staging, name)
            made.mkdir(mode=0o755)
            _write_version(model, made / "1", serving, say)
            if exists:
                version = _publish_version(made / "1", folder)
            else:
                (made / CONFIG).write_text(title + write(message))
                version = 1
                made.rename(folder)
    except OSError as error:
        raise RepsrError(
            f"cannot write {folder}: {error.strerror or error}; choose a writable place with free space"
        ) from error
    return Added(folder=folder, version=version, file=folder / str(version) / BACKENDS[serving.backend])


def _write_version(model: _Model, folder: Path, serving: Serving, say: Say) -> None:
    folder.mkdir()
    out = folder / BACKENDS[serving.backend]
    match serving.backend:
        case "onnxruntime":
            shutil.copyfile(model.path, out)
            for weights in model.weights:
                shutil.copyfile(model.path.parent / weights, folder / weights)
        case "openvino":
            from repsr_deploy.runtimes.openvino_model import save_openvino

            save_openvino(model.path, out)
        case "tensorrt":
            _build(model.path, out, serving.profile(model.ports[0], model.info), say)


def _build(model: Path, out: Path, shapes: Shapes, say: Say) -> None:
    from repsr_deploy.runtimes.tensorrt.build import build_engine
    from repsr_deploy.runtimes.tensorrt.options import BuildOptions

    def progress(share: float, phase: str) -> None:
        say(f"{phase} {share:.0%}")

    build_engine(model, out, flavour="tensorrt", options=BuildOptions(shapes=shapes), progress=progress)


def _publish_version(made: Path, folder: Path) -> int:
    """Move a version to the number behind the last one, whoever else adds versions."""
    while True:
        version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
        try:
            made.rename(folder / str(version))
        except OSError:
            if not (folder / str(version)).exists():
                raise
        else:
            return version


def _check_same(config: Path, text: str) -> None:
    """Refuse another version where clients of the model would not know it again.

    Raises:
        UsageError: says what differs.
    """
    way_out = "take another --name, or remove that folder"
    try:
        found = contract(read(config.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{config} is no configuration that can be compared ({error}); {way_out}") from error
    wanted = contract(read(text))
    for key in found | wanted:
        there, here = found.get(key, "none"), wanted.get(key, "none")
        if there != here:
            raise UsageError(f"{config} has {key} {there}, and this model has {here}; {way_out}")


def _read(source: Path) -> _Model:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    check_file(source)
    try:
        proto = onnx.load(source, load_external_data=False)
    except DecodeError as error:
        raise ModelFileError(f"{source} is no ONNX model; expected an .onnx file of `repsr-fuse export`") from error
    info = ModelInfo.from_props({entry.key: entry.value for entry in proto.metadata_props})
    if info is None:
        raise ModelFileError(
            f"{source} says nothing about itself (scale, halo); write a file that does: "
            f"`repsr-fuse export {source} --out NEW.onnx`"
        )
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [_port(value) for value in proto.graph.input if value.name not in constants]
    outputs = [_port(value) for value in proto.graph.output]
    check_ports(inputs, outputs, info, str(source))
    weights = {ExternalDataInfo(tensor).location for tensor in proto.graph.initializer if uses_external_data(tensor)}
    if any(Path(name).name != name for name in weights):
        raise ModelFileError(f"{source} has its weights in another folder; expected them beside it")
    return _Model(path=source, info=info, ports=(inputs[0], outputs[0]), weights=tuple(sorted(weights)))


def _port(value: Any) -> Port:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.tensor_type
    sides = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    return Port(value.name, str(tensor_dtype_to_np_dtype(kind.elem_type)), sides)
