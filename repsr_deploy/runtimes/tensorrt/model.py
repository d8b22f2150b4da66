"""The ONNX file from which an engine is built: what it says about itself, and a digest of everything in it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.source import Source, check_file, content_sha256, label_of, stated_info


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """A model, read as far as building needs it."""

    label: str
    """For messages."""
    source: Source
    info: ModelInfo
    digest: str
    """SHA-256 of the file and of the files that hold its weights."""


def read_model(source: Source) -> OnnxModel:
    """Read a model file, or the content of one.

    Raises:
        RuntimeUnavailableError: the onnx package is not installed.
        ModelFileError: no ONNX model, or one that says nothing about itself.
    """
    label = label_of(source)
    check_file(source)
    if isinstance(source, Path) and source.suffix != ".onnx":
        raise ModelFileError(f"{source} is no .onnx file; expected one to build an engine from")
    try:
        importlib.import_module("onnx")
        from google.protobuf.message import DecodeError  # onnx brings it
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"building an engine needs the onnx package ({error}); install it with `pip install onnx`"
        ) from error
    try:
        info = stated_info(source)
    except DecodeError as error:
        raise ModelFileError(f"{label} is no ONNX model; expected an .onnx file of `repsr-fuse export`") from error
    if info is None:
        raise ModelFileError(
            f"{label} says nothing about itself (scale, halo, precision), and an engine cannot be asked; "
            "write a file that does: `repsr-fuse export OLD.onnx --out NEW.onnx`"
        )
    return OnnxModel(label=label, source=source, info=info, digest=content_sha256(source))
