"""The bundled models: NAME.onnx (folded), NAME.safetensors (as trained) and NAME.md (model card), side by side."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from repsr_deploy.errors import UsageError


def bundled_names() -> list[str]:
    """Names of the models that come with the package, sorted."""
    return sorted(entry.name.removesuffix(".onnx") for entry in _folder().iterdir() if entry.suffix == ".onnx")


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model: a bundled name (`photo-x2`), or a path. A bundled name wins over a file of that name.

    Raises:
        UsageError: neither a bundled name nor an existing path.
    """
    names = bundled_names()
    if str(name_or_path) in names:
        return _folder() / f"{name_or_path}.onnx"
    path = Path(name_or_path)
    if path.exists():
        return path
    close = difflib.get_close_matches(str(name_or_path), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise UsageError(
        f"no model {str(name_or_path)!r}; {hint}expected an .onnx file or a bundled name "
        f"({', '.join(names) or 'none is bundled here'})"
    )


def _folder() -> Path:
    """The package is installed as files, never imported from an archive: runtimes open models by path."""
    return Path(str(resources.files(__name__)))
