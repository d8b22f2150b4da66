"""Engine files: whether one is whole, and whether it is one for this TensorRT and this GPU. Needs neither of them."""

from __future__ import annotations

import logging
from pathlib import Path

from repsr_deploy.errors import ModelFileError
from repsr_deploy.files import file_sha256
from repsr_deploy.runtimes.tensorrt.options import Flavour
from repsr_deploy.runtimes.tensorrt.record import EngineRecord, Recipe, record_path
from repsr_kernels.gpu.driver import Device

log = logging.getLogger(__name__)

BUILD_AGAIN = "build it again from its model: `repsr-fuse export MODEL.onnx --format {flavour} --out FILE.engine`"


def read_record(engine: Path) -> EngineRecord:
    """The record of an engine file, which is whole.

    Raises:
        ModelFileError: the engine or its record is missing, is no such thing, or was changed since it was built.
    """
    found = find_record(engine)
    if isinstance(found, str):
        raise ModelFileError(f"{engine} {found}; {BUILD_AGAIN.format(flavour='tensorrt')}")
    return found


def find_record(engine: Path) -> EngineRecord | str:
    """The record of an engine file, or what is wrong with the file or its record."""
    beside = record_path(engine)
    if not engine.is_file():
        return "is no file"
    try:
        record = EngineRecord.from_json(beside.read_text())
    except FileNotFoundError:
        return f"has no {beside.name} beside it, which says what it is"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"has beside it {beside.name}, which is no record of an engine ({error})"
    size = engine.stat().st_size
    if size != record.plan_bytes:
        return f"is cut short or corrupted: it has {size} bytes, not {record.plan_bytes}"
    if file_sha256(engine) != record.plan_sha256:
        return "is corrupted: its SHA-256 is not that of the engine that was built"
    return record


def check_fits(engine: Path, recipe: Recipe, flavour: Flavour, version: str, gpu: Device | None) -> None:
    """Refuse an engine that this TensorRT or this GPU (None: unknown) cannot run.

    Raises:
        ModelFileError: says for what it was built, and what is here.
    """
    reason = _other_program(recipe, flavour, version) or (gpu and _other_gpu(recipe, gpu))
    if reason:
        raise ModelFileError(f"{engine} was built for {reason}; {BUILD_AGAIN.format(flavour=flavour)}")
    if gpu is not None and recipe.device is not None and recipe.device["name"] != gpu.name:
        log.warning("%s was built on a %s and may be slow on this %s", engine, recipe.device["name"], gpu.name)


def _other_program(recipe: Recipe, flavour: Flavour, version: str) -> str | None:
    if recipe.flavour != flavour:
        return f"{recipe.flavour} {recipe.version}, and this is {flavour} {version}"
    built, here = _numbers(recipe.version), _numbers(version)
    later = recipe.options["version_compatible"] and built[0] == here[0] and built <= here
    return None if built == here or later else f"{flavour} {recipe.version}, and here is {version}"


def _other_gpu(recipe: Recipe, gpu: Device) -> str | None:
    here = f"this {gpu.name} has {gpu.compute_capability}"
    if recipe.device is None:
        wanted: list[str] = recipe.options["compute_capabilities"]
        if wanted:
            return None if gpu.compute_capability in wanted else f"compute capability {', '.join(wanted)}, and {here}"
        return None if _numbers(gpu.compute_capability) >= (8, 0) else f"compute capability 8.0 and later, and {here}"
    built = recipe.device["compute_capability"]
    if built == gpu.compute_capability:
        return None
    if recipe.options["hardware"] == "ampere+" and min(_numbers(built), _numbers(gpu.compute_capability)) >= (8, 0):
        return None
    return f"a {recipe.device['name']} of compute capability {built}, and {here}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
