"""The JSON files that the program writes: every query's times, every layer's time and types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError

TYPES = (
    ("uint8", "uint8"),
    ("int8", "int8"),
    ("bf16", "bf16"),
    ("bfloat16", "bf16"),
    ("fp16", "fp16"),
    ("half", "fp16"),
    ("fp8", "fp8"),
    ("int4", "int4"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("fp32", "fp32"),
    ("float", "fp32"),
)
"""What an inspector's description of a tensor contains -> its type, the first that fits. Both `Half` and `Channel major
FP16 format where channel % 8 == 0` occur."""
TYPE_KEYS = ("format/datatype", "datatype")
"""TensorRT 10 has one entry for layout and type, TensorRT 11 two (its migration guide, IEngineInspector)."""


@dataclass(frozen=True)
class Times:
    """Seconds of every query, in the order in which they were started."""

    gpu: tuple[float, ...]
    latency: tuple[float, ...]
    to_device: tuple[float, ...]
    from_device: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of the engine, which may be several operators of the model."""

    name: str
    kind: str
    """As the inspector calls it, `CaskConvolution`; empty where it says nothing of this layer."""
    mean_s: float
    share: float
    """Of the time of all layers."""
    inputs: tuple[str, ...]
    """Types of what it reads, `fp16`; those of a convolution are what it multiplies in."""
    outputs: tuple[str, ...]


def read_times(path: Path) -> Times:
    """Read what `--exportTimes` wrote.

    Raises:
        RepsrError: the file is missing or damaged, or holds no queries.
    """
    queries = _read(path, "--exportTimes")
    keys = ("computeMs", "latencyMs", "h2dMs", "d2hMs")
    try:
        columns = [tuple(_seconds(query[key]) for query in queries) for key in keys]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "--exportTimes", f"{type(error).__name__}: {error}") from error
    if not columns[0]:
        raise _damaged(path, "--exportTimes", "no query was timed")
    return Times(*columns)


def read_layers(profile: Path, information: Path) -> tuple[Layer, ...]:
    """Read what `--exportProfile` and `--exportLayerInfo` wrote, in the order in which layers run.

    Raises:
        RepsrError: a file is missing or damaged, or has no layers.
    """
    rows = _read(profile, "--exportProfile")
    known = _inspected(information)
    try:
        timed = [(str(row["name"]), _seconds(row["averageMs"])) for row in rows if "name" in row]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(profile, "--exportProfile", f"{type(error).__name__}: {error}") from error
    total_s = sum(mean_s for _, mean_s in timed)
    if total_s <= 0:
        raise _damaged(profile, "--exportProfile", "no layer took any time")
    return tuple(
        Layer(
            name=name,
            kind=str(known.get(name, {}).get("LayerType", "")),
            mean_s=mean_s,
            share=mean_s / total_s,
            inputs=_types(known.get(name, {}).get("Inputs", [])),
            outputs=_types(known.get(name, {}).get("Outputs", [])),
        )
        for name, mean_s in timed
    )


def _inspected(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Layer name -> its description; none for layers of which only the name is given."""
    content = _read(path, "--exportLayerInfo")
    try:
        return {layer["Name"]: layer for layer in content["Layers"] if isinstance(layer, dict)}
    except (KeyError, TypeError) as error:
        raise _damaged(path, "--exportLayerInfo", f"{type(error).__name__}: {error}") from error


def _types(tensors: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Types of tensors; those of which the inspector says nothing (`N/A due to dynamic shapes`) are left out."""
    texts = [str(value).lower() for tensor in tensors for key, value in tensor.items() if key.lower() in TYPE_KEYS]
    found = (next((name for part, name in TYPES if part in text), None) for text in texts)
    return tuple(name for name in found if name is not None)


def _seconds(milliseconds: Any) -> float:
    value = float(milliseconds) / 1e3
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{milliseconds} ms is no time")
    return value


def _read(path: Path, flag: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), strict=False)
    except OSError as error:
        raise RepsrError(
            f"no file was written for {flag} ({error.strerror}); expected one from a run that passed"
        ) from error
    except ValueError as error:
        raise _damaged(path, flag, str(error)) from error


def _damaged(path: Path, flag: str, why: str) -> RepsrError:
    way_out = "run it again" if flag == "--exportTimes" else "run it again, or without layers"
    return RepsrError(f"{path.name}, written for {flag}, cannot be understood ({why}); {way_out}")
