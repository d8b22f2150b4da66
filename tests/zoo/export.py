"""Test networks as ONNX."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
from torch import nn

from repsr_deploy.export.trace import export_module
from tests.zoo.blocks import BLOCKS

SLOW = {
    *("acnet", "repmbconv", "edges", "central-difference", "coefficients", "weight-norm-hook", "edsr", "dilated"),
    *("mean-shift", "dense", "conv3xc"),
}
"""Networks whose kind another one also shows; an export takes a second."""
BLOCK_NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in BLOCKS]
"""For `pytest.mark.parametrize`."""


def export_to(module: nn.Module, path: Path, *, channels: int = 3) -> Path:
    """Write `module` to `path` with the exporter that foreign networks go through; ONNX Runtime has agreed then.

    Raises:
        ProofError: it has not.
    """
    export_module(module, module, channels, path)
    return path


@functools.cache
def exported_block(name: str) -> bytes:
    """The ONNX file of a network in `BLOCKS`, exported once for all tests."""
    with tempfile.TemporaryDirectory() as folder:
        return export_to(BLOCKS[name](), Path(folder, "net.onnx")).read_bytes()
