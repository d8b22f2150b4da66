"""Recipes: what to train and how, as frozen values. A name says the network: `repsr-m4c16-x2`, `ecbsr-m10c32-x4`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from repsr_deploy.errors import UsageError
from repsr_deploy.files import sha256
from repsr_deploy.nets.spec import Family, NetSpec

Precision = Literal["fp32", "bf16"]

SHOWN = ("repsr-m4c16-x2", "repsr-m4c16-x4", "ecbsr-m4c16-x2", "ecbsr-m4c16-x4", "plain-m4c16-x2", "plain-m4c16-x4")
"""The names that help texts list; any FAMILY-mMcC-xS is a recipe."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the trained weights, data and device apart.

    Raises:
        UsageError: a value is out of range.
    """

    network: NetSpec
    steps: int = 100_000
    """Optimizer steps."""
    batch: int = 16
    """Crops a step."""
    patch: int = 48
    """Side of a crop, LR pixels."""
    lr: float = 2e-3
    """Peak learning rate of Adam; a cosine brings it to `lr_end` at the last step."""
    lr_end: float = 1e-6
    warmup: int = 200
    """Steps over which the learning rate rises linearly."""
    population_from: float = 0.05
    """Fraction of the steps after which BatchNorm uses population statistics (RepSR's modified BN; the paper does not
    give the value). From then on a block is linear and trains folded: the same gradients, 3 times faster."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights, which is what validation and the checkpoint use."""
    precision: Precision = "fp32"
    """Arithmetic of convolutions while training, weights stay float32; `bf16` is faster where the processor has it."""
    seed: int = 0
    validate_every: int = 2000
    """Steps between validations; the state for `--resume` is saved then too."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("warmup", "seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.patch < 8:
            raise UsageError(f"patch is {self.patch}; expected at least 8 LR pixels")
        if not 0 < self.lr < 1 or not 0 <= self.lr_end <= self.lr:
            raise UsageError(f"lr is {self.lr} and lr_end {self.lr_end}; expected 0 < lr < 1 and lr_end from 0 to lr")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay is {self.ema_decay}; expected 0 (off) up to below 1")
        if not 0 <= self.population_from <= 1:
            raise UsageError(f"population_from is {self.population_from}; expected a fraction of the steps, 0 to 1")
        if self.precision not in get_args(Precision):
            raise UsageError(f"precision is {self.precision!r}; expected one of {', '.join(get_args(Precision))}")

    @property
    def population_step(self) -> int:
        """First step that uses population statistics; 0 for families without BatchNorm."""
        return round(self.steps * self.population_from) if self.network.family == "repsr" else 0

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @property
    def hash(self) -> str:
        """Short hash of everything the recipe says."""
        return sha256(self.to_json().encode())[:12]


def recipe(name: str) -> Recipe:
    """The recipe of a name such as `repsr-m4c16-x2`: family, blocks, channels, scale; `-y` at the end for luma only.

    Raises:
        UsageError: no such name.
    """
    match = re.fullmatch(r"(repsr|ecbsr|plain)-m(\d+)c(\d+)-x(\d+)(-y)?", name.lower())
    if match is None:
        raise UsageError(f"unknown recipe {name!r}; expected FAMILY-mMcC-xS such as {', '.join(SHOWN)}")
    family, blocks, channels, scale, luma = match.groups()
    spec = NetSpec(
        family=cast("Family", family),
        scale=int(scale),
        blocks=int(blocks),
        channels=int(channels),
        colour="y" if luma else "rgb",
    )
    return Recipe(network=spec)


def override(base: Recipe, assignments: Sequence[str]) -> Recipe:
    """Apply `key=value` texts, typed by the recipe's fields.

    Raises:
        UsageError: an unknown key, or a value of another type or out of range.
    """
    kinds: dict[str, type[Any]] = {
        item.name: type(getattr(base, item.name)) for item in fields(base) if item.name != "network"
    }
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or key not in kinds:
            raise UsageError(f"--set {assignment}: expected KEY=VALUE with KEY one of {', '.join(kinds)}")
        try:
            values[key] = kinds[key](text)
        except ValueError as error:
            raise UsageError(f"--set {assignment}: expected {kinds[key].__name__} after {key}=") from error
    return replace(base, **values)
