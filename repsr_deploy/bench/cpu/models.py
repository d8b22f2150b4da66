"""The models of a measurement: bundled ones, files, and plain networks of a size that has random weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.bench.kernels.steps import exported, read_network
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.nets.spec import NetSpec, StackSpec, parse_name
from repsr_kernels.cpu import network

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What everybody runs."""

    name: str
    """As it was asked for."""
    files: Mapping[Precision, Path]
    """The fp32 model, from which shorter floats are computed, and one of int8 where there is one."""
    features: Path | None
    """The fp32 model of io `features`, which our kernel finishes; None where it cannot be made."""
    info: ModelInfo
    """Of the fp32 model."""
    macs_per_pixel: int | None
    """Multiply-adds for each LR pixel, as the engine counts them; None without it."""

    def file(self, computes: Precision) -> Path:
        """What is opened to compute in a precision."""
        return self.files["int8" if computes == "int8" else "fp32"]


def read_model(name: str, scratch: Path, say: Say) -> tuple[Model, list[str]]:
    """A model by its name, and notes on what could not be made of it.

    Args:
        name: `photo-x2`, an .onnx file or a checkpoint of ours; or `plain-m16c64-x2`, with random weights. There is
            also one of int8 of each, if that can be made.
        scratch: a folder for what is made of it.

    Raises:
        UsageError: neither a model nor such a name, or no fp32 network of io float for RGB.
        RepsrError: it cannot be read.
    """
    spec = random_spec(name)
    notes: list[str] = []
    files: dict[Precision, Path] = {}
    if spec is not None:
        from repsr_deploy.bench.cpu.random_network import random_network

        files = {"fp32": scratch / f"{name}.fp32.onnx", "int8": scratch / f"{name}.int8.onnx"}
        for precision, file in files.items():
            file.write_bytes(random_network(spec, precision))
        source = read_network(str(files["fp32"]), scratch)
    else:
        source = read_network(name, scratch)
        files = {"fp32": source.file}
        try:
            file, info = exported(source, "float", "int8", say)
            if info.precision == "int8":
                files["int8"] = file
            else:
                notes.append(f"{name} is not measured in int8, which costs more than the export allows")
        except (RepsrError, ModuleNotFoundError) as error:
            notes.append(f"{name} is not measured in int8: {error}")
    features = None
    try:
        features, _ = exported(source, "features", "fp32", say)
    except (RepsrError, ModuleNotFoundError) as error:
        notes.append(f"{name} is not measured with features that our kernel finishes: {error}")
    macs = _macs(source.file)
    return Model(name=name, files=files, features=features, info=source.info, macs_per_pixel=macs), notes


def random_spec(name: str) -> NetSpec | None:
    """The network of a name such as `plain-m16c64-x2`; None for other names.

    Raises:
        UsageError: another family, whose networks are not plain.
    """
    spec = None
    if not Path(name).exists():
        with contextlib.suppress(UsageError):
            spec = parse_name(name)
    if spec is not None and not (isinstance(spec, StackSpec) and spec.family == "plain"):
        raise UsageError(f"{name} is no plain network; expected plain-mMcC-xS, which all of its kind fold into")
    return spec


def _macs(file: Path) -> int | None:
    """As the engine counts them; None where it cannot be used, or not with this model."""
    if network.why_unavailable() is not None:
        return None
    try:
        return network.Model(file.read_bytes()).description.macs_per_pixel
    except RepsrError:
        return None
