"""Build options that no TensorRT knows, or not this one, are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes.tensorrt import BuildOptions, Flavour


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"level": 6}, "builder level is 6; expected 0 to 5"),
        ({"level": -1}, "builder level is -1"),
        ({"workspace_bytes": 0}, "workspace is 0 bytes"),
        ({"hardware": "turing"}, "hardware is 'turing'"),
        ({"compute_capabilities": ("9.9",)}, "compute capabilities are 9.9; expected some of 7.5, 8.0"),
        ({"compute_capabilities": ("current", "8.9")}, "or `current` alone"),
    ],
)
def test_unknown_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        BuildOptions(**values)


@pytest.mark.parametrize(
    ("flavour", "values"),
    [
        ("tensorrt", {"compute_capabilities": ("8.9",)}),
        ("tensorrt-rtx", {"hardware": "ampere+"}),
        ("tensorrt-rtx", {"version_compatible": True}),
        ("tensorrt-rtx", {"timing_cache": Path("x")}),
    ],
)
def test_values_without_effect(flavour: Flavour, values: dict[str, Any]) -> None:
    options = BuildOptions(**values)
    with pytest.raises(UsageError, match=r"is an option of|are an option of"):
        options.check_for(flavour)
    other: Flavour = "tensorrt" if flavour == "tensorrt-rtx" else "tensorrt-rtx"
    options.check_for(other)
