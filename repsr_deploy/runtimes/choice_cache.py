"""What was measured on this machine, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.errors import RepsrError
from repsr_deploy.files import write_text
from repsr_deploy.host import package_version, processor_name
from repsr_deploy.runtimes import native
from repsr_deploy.runtimes.backends import Candidate
from repsr_deploy.runtimes.source import Source, content_sha256, name_of
from repsr_kernels.cache_dir import cache_dir

log = logging.getLogger(__name__)

PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13",
    "openvino", "tensorrt", "tensorrt-rtx", "pycuda",
)  # fmt: skip
"""Distributions that bring backends."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out for one candidate."""

    candidate: Candidate
    psnr_db: float
    """Of its 8-bit picture against that of the first candidate, whose own is infinite."""
    median_s: float | None
    """Of a run on a square 8-bit picture, as part of a large one; None where the picture is another one."""
    side: int
    """Of that picture, pixels."""


def load_measured(model: Source, asked: dict[str, Any]) -> tuple[Measured, ...] | None:
    """What was measured for a model; None where nothing was, or on another machine, with other versions, or else.

    Args:
        model: the file or its content.
        asked: what else was asked for: JSON values.
    """
    key = _key(model, asked)
    path = _path(model, key)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != key or not content["measured"]:
            return None
        return tuple(_measured(row) for row in content["measured"])
    except OSError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        log.info("%s is not readable (%s): measuring again", path, error)
        return None


def store_measured(model: Source, asked: dict[str, Any], measured: tuple[Measured, ...]) -> None:
    """Keep what was measured; a folder that cannot be written to costs time, not the result."""
    key = _key(model, asked)
    rows = [
        {
            "runtime": item.candidate.runtime,
            "precision": item.candidate.precision,
            "psnr_db": None if math.isinf(item.psnr_db) else item.psnr_db,
            "median_s": item.median_s,
            "side": item.side,
        }
        for item in measured
    ]
    try:
        write_text(_path(model, key), json.dumps({"key": key, "measured": rows}, indent=2, allow_nan=False) + "\n")
    except RepsrError as error:
        log.info("the choice of a runtime is not kept: %s", error)


def _measured(row: dict[str, Any]) -> Measured:
    psnr_db, median_s = row["psnr_db"], row["median_s"]
    return Measured(
        candidate=Candidate(str(row["runtime"]), row["precision"]),
        psnr_db=math.inf if psnr_db is None else float(psnr_db),
        median_s=None if median_s is None else float(median_s),
        side=int(row["side"]),
    )


def _path(model: Source, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_dir("choices", f"{name_of(model)}-{digest[:16]}.json")


def _key(model: Source, asked: dict[str, Any]) -> dict[str, Any]:
    """Everything that could change what comes out."""
    return {
        "model": content_sha256(model),
        "asked": asked,
        "repsr-deploy": __version__,
        "packages": {name: package_version(name) for name in PACKAGES},
        "native": native.identity(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Models of the GPUs that NVIDIA's driver for Linux lists."""
    folder = Path("/proc/driver/nvidia/gpus")
    return [name for path in sorted(folder.glob("*/information")) for name in _values(path, "Model")]


def _values(path: Path, field: str) -> Any:
    """Values of `field : value` lines of a file of /proc."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return iter(())
    return (line.partition(":")[2].strip() for line in lines if line.startswith(field))
