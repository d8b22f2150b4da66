"""A model as it is handed over: a file or the content of one. What it is called, and what it says about itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

from repsr_deploy.errors import ModelFileError
from repsr_deploy.files import file_sha256
from repsr_deploy.model_info import ModelInfo

Source = Path | bytes
"""A model file, or the content of an .onnx file."""
EXTERNAL = b"location"
"""A key of the table that says in which other file weights lie."""
CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt")


def label_of(model: Source) -> str:
    """What messages call it."""
    return "the model" if isinstance(model, bytes) else str(model)


def name_of(model: Source) -> str:
    """Name of a network that does not state its own."""
    return "model" if isinstance(model, bytes) else model.stem


def check_file(model: Source, *, expected: str = "an .onnx file") -> None:
    """Refuse what cannot be a model whatever reads it.

    Raises:
        ModelFileError: no file, an empty or unreadable one, or a checkpoint.
    """
    if isinstance(model, bytes):
        return
    if not model.is_file():
        kind = "is a folder" if model.is_dir() else "does not exist"
        raise ModelFileError(f"{model} {kind}; expected {expected}")
    if model.suffix in CHECKPOINTS:
        raise ModelFileError(
            f"{model} is a checkpoint, not an ONNX model; fold and export it first: "
            f"`repsr-fuse export {model} --out {model.with_suffix('.onnx').name}`"
        )
    try:
        with model.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ModelFileError(f"cannot read {model}: {error.strerror}; expected {expected}") from error
    if empty:
        raise ModelFileError(f"{model} is empty; expected {expected}")


def stated_info(model: Source) -> ModelInfo | None:
    """What an .onnx file says about itself, without opening it in a backend; None when it says nothing.

    Raises:
        ImportError: the onnx package is not installed.
        ModelFileError: unreadable metadata.
        google.protobuf.message.DecodeError: not an ONNX model.
    """
    import onnx

    content = model if isinstance(model, bytes) else model.read_bytes()
    proto = onnx.load_model_from_string(content)
    return ModelInfo.from_props({entry.key: entry.value for entry in proto.metadata_props})


def content_of(model: Source) -> bytes:
    """The content of an .onnx file, weights that lie in files beside it put in, where the onnx package is here.

    Raises:
        ModelFileError: such a file cannot be read.
    """
    if isinstance(model, bytes):
        return model
    content = model.read_bytes()
    if EXTERNAL not in content:
        return content
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return content
    try:
        proto = onnx.load(model)
    except DecodeError:
        return content
    except (OSError, onnx.checker.ValidationError) as error:
        raise ModelFileError(
            f"cannot read the weights of {model} ({str(error).splitlines()[0]}); expected an .onnx file that has them"
        ) from error
    return proto.SerializeToString()


def content_sha256(model: Source) -> str:
    """Hexadecimal SHA-256 of a model, with the weights that lie beside it in files of their own."""
    if isinstance(model, bytes):
        return hashlib.sha256(model).hexdigest()
    digests = [file_sha256(path) for path in (model, *_weight_files(model)) if path.is_file()]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _weight_files(model: Path) -> list[Path]:
    """Files beside a model that hold its weights: NAME.bin of an .xml, external data of an .onnx."""
    if model.suffix == ".xml":
        return [model.with_suffix(".bin")]
    if model.suffix != ".onnx":
        return []
    content = model.read_bytes()
    if EXTERNAL not in content:
        return []
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    proto = onnx.load_model_from_string(content)
    tensors = [tensor for tensor in proto.graph.initializer if uses_external_data(tensor)]
    return sorted({model.parent / ExternalDataInfo(tensor).location for tensor in tensors})
