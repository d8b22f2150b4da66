"""Who takes part in the measurement: runtimes, what they compute in, with how many threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from repsr_deploy.bench.cpu.models import Model
from repsr_deploy.bench.sources import TRAIN_EXTRA, has_torch
from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes import BACKENDS, unavailable
from repsr_kernels.cpu import network
from repsr_kernels.cpu.instruction_sets import PRECISIONS, Precision

Name = Literal["native", "openvino", "onnxruntime", "pytorch"]
NATIVE: Name = "native"
OTHERS: tuple[Name, ...] = ("openvino", "onnxruntime")
"""Backends that the engine is compared with, beside PyTorch."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One row at each size; which of its ways it takes there is found out by a trial."""

    runtime: Name
    computes: Precision
    instruction_set: str = ""
    """Of the engine."""
    threads: int
    file: Path
    features: bool = False
    """Whether `file` is of io `features`: our kernel makes the picture behind it, so that the row is partly ours, and
    the engine is not compared with it."""
    fixed: bool = False
    """OpenVINO: compiled for the very size, as few can who enlarge pictures of any size."""
    compiles: bool = False
    """Whether PyTorch's compiler is one of the ways: it takes seconds for each size."""

    def __str__(self) -> str:
        how = f"{self.computes} by {self.instruction_set}" if self.instruction_set else self.computes
        return f"{self.title} in {how}" + (", 1 thread" if self.threads == 1 else "")

    @property
    def title(self) -> str:
        """The runtime, whether our kernel is behind it, and whether it is made for one size."""
        return self.runtime + (" + our kernel" if self.features else "") + (", fixed size" if self.fixed else "")

    @property
    def key(self) -> dict[str, str]:
        """Its part of a row's key."""
        return {
            "runtime": self.title,
            "computes": self.computes,
            "instructions": self.instruction_set,
            "threads": str(self.threads),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for another process."""
        return {**asdict(self), "file": str(self.file)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Contestant:
        """The inverse of `to_dict`."""
        values: dict[str, Any] = {**content, "file": Path(content["file"])}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the engine can do here."""

    instruction_sets: Mapping[str, tuple[Precision, ...]]
    """Slowest first; empty where there is no engine."""

    def best(self, precision: Precision) -> str | None:
        """The fastest instruction set that computes in a precision."""
        able = [name for name, precisions in self.instruction_sets.items() if precision in precisions]
        return able[-1] if able else None

    def chosen(self, wanted: Sequence[str]) -> list[tuple[str, Precision]]:
        """The best for each precision, and all that those that are wanted can do.

        Raises:
            UsageError: one is wanted that there is not.
        """
        for name in wanted:
            if name not in self.instruction_sets:
                known = ", ".join(self.instruction_sets) or "none, as there is no engine"
                raise UsageError(f"no instruction set {name!r} here; expected some of {known}")
        pairs: dict[tuple[str, Precision], None] = {}
        for precision in PRECISIONS:
            best = self.best(precision)
            if best is not None:
                pairs[best, precision] = None
        for name in wanted:
            pairs |= dict.fromkeys((name, precision) for precision in self.instruction_sets[name])
        return list(pairs)


def find_engine() -> tuple[Engine, list[str]]:
    """The engine, and a note where there is none."""
    reason = network.why_unavailable()
    if reason is not None:
        return Engine(instruction_sets={}), [f"{NATIVE} is not measured: {reason}"]
    return Engine(instruction_sets=network.instruction_sets()), []


def find_contestants(
    model: Model, engine: Engine, *, wanted: Sequence[str] = (), threads: int, single: bool, compiled: bool
) -> tuple[list[Contestant], list[str]]:
    """Everybody who can run a model, and notes on who cannot.

    Args:
        wanted: instruction sets that the engine is made to use, beside the best one.
        threads: of everybody.
        single: the engine, and OpenVINO in bf16, with one thread, too.
        compiled: PyTorch's compiler, too.
    """
    found = [
        Contestant(
            runtime=NATIVE, computes=precision, instruction_set=name, threads=threads, file=model.file(precision)
        )
        for name, precision in engine.chosen(wanted)
        if precision != "int8" or "int8" in model.files
    ]
    others, notes = _other_runtimes(model, threads)
    found += others
    if has_torch():
        found += _pytorch(model, threads, compiled=compiled, shorter=any(one.computes == "bf16" for one in found))
    else:
        notes.append(f"PyTorch is not measured: it is not installed; {TRAIN_EXTRA}")
    if single and threads > 1:
        found += [replace(one, threads=1) for one in found if _has_single(one, engine)]
    return found, notes


def _other_runtimes(model: Model, threads: int) -> tuple[list[Contestant], list[str]]:
    missing = unavailable()
    found = [
        Contestant(runtime=name, computes=precision, threads=threads, file=model.file(precision))
        for name in OTHERS
        if name not in missing
        for precision in _precisions(name, model)
    ]
    fixed = [replace(one, fixed=True) for one in found if one.runtime == "openvino"]
    if model.features is not None:
        found += [replace(one, file=model.features, features=True) for one in found if one.computes != "int8"]
    found += fixed
    return found, [f"{name} is not measured: {missing[name]}" for name in OTHERS if name in missing]


def _precisions(name: str, model: Model) -> list[Precision]:
    """In which a backend computes the model's files."""
    able = BACKENDS[name].precisions(model.info)
    return [one for one in PRECISIONS if one in able or (one == "int8" and one in model.files)]


def _pytorch(model: Model, threads: int, *, compiled: bool, shorter: bool) -> list[Contestant]:
    """In fp32; `shorter`: in bf16, too, which without instructions for it takes much longer."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if shorter else ("fp32",)
    return [
        Contestant(runtime="pytorch", computes=one, threads=threads, file=model.file("fp32"), compiles=compiled)
        for one in precisions
    ]


def _has_single(one: Contestant, engine: Engine) -> bool:
    """Whether it is also measured with one thread."""
    if one.runtime == NATIVE:
        return one.instruction_set == engine.best(one.computes)
    return (one.runtime, one.computes) == ("openvino", "bf16") and not (one.features or one.fixed)
