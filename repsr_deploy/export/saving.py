"""Graphs on disk: whole or not at all, also where the weights are a file of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir

from repsr_deploy.errors import RepsrError

LARGEST_FILE_BYTES = 1_500_000_000
"""Above this the weights go into a file of their own; protobuf allows 2 GiB in one."""


def save_graph(model: ir.Model, path: Path) -> Path:
    """Write a graph to `path`, wherever its weights are now; above 1.5 GB they go beside it, as NAME.onnx.data."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > LARGEST_FILE_BYTES:
        ir.save(model, path, external_data=f"{path.name}.data")
    else:
        ir.save(ir.external_data.load_to_model(model.clone()), path)
    return path


@contextmanager
def staged(path: Path) -> Generator[Path]:
    """A path of the same name in a folder of its own, from which all files move beside `path` if nothing went wrong.

    A model names its data file, so neither may be renamed.

    Raises:
        RepsrError: the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem[:40]}.", dir=path.parent) as folder:
            yield Path(folder, path.name)
            for file in sorted(Path(folder).iterdir(), reverse=True):  # the data before the model that names it
                file.replace(path.parent / file.name)
    except OSError as error:
        raise RepsrError(
            f"cannot write {path}: {error.strerror or error}; choose a writable place with free space"
        ) from error
