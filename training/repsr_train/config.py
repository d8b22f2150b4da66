"""The recipe: everything that decides the trained weights, photographs and device apart, as one frozen value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from repsr_deploy.errors import UsageError
from repsr_deploy.files import sha256
from repsr_deploy.nets.spec import EdsrSpec, NetSpec, StackSpec

OptimizerName = Literal["adam", "soap"]
Schedule = Literal["cosine", "steps", "constant"]
Loss = Literal["l1", "charbonnier", "l2"]
Precision = Literal["fp32", "bf16", "fp16"]
Degradation = Literal["bicubic", "second-order"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train a network.

    Raises:
        UsageError: a value is out of range, or two values exclude each other; the message names the keys.
    """

    network: NetSpec

    steps: int = 100_000
    """Optimizer steps."""
    batch: int = 16
    """Crops a step, over all processes together."""
    patch: int = 48
    """Side of a crop, LR pixels."""

    optimizer: OptimizerName = "adam"
    """`adam`, or `soap`: Adam in the eigenbasis of Shampoo (arXiv 2409.11321; its authors use betas=0.95,0.95)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the averages of the gradient and of its square."""
    weight_decay: float = 0.0
    """Decoupled from the gradient, as in AdamW: each step shrinks the weights by lr * weight_decay."""
    grad_clip: float = 0.0
    """Largest norm of the gradient of all weights together; longer ones are shortened to it. 0: off."""
    lr: float = 2e-3
    """Peak learning rate."""
    lr_end: float = 1e-6
    """Where schedule=cosine ends."""
    warmup: int = 200
    """Steps over which the learning rate rises linearly, at the start and again after the switch of statistics."""
    schedule: Schedule = "cosine"
    """`cosine` from lr to lr_end; `steps`: times gamma at each of `milestones`; `constant`."""
    milestones: tuple[float, ...] = ()
    """Where schedule=steps lowers the learning rate: fractions of the steps, ascending."""
    gamma: float = 0.5
    """Factor of the learning rate at a milestone."""

    loss: Loss = "l1"
    """`l1`, `l2`, or `charbonnier`: sqrt(difference^2 + charbonnier_eps^2); means over pixels and colours."""
    charbonnier_eps: float = 1e-3
    """In units of the pixel range 0..1."""
    luma_weight: float = 0.0
    """Share of the loss that is measured on BT.601 luma instead of RGB, 0 to 1. PSNR-Y is measured on that."""

    population_from: float = 0.05
    """Fraction of the steps after which BatchNorm uses population statistics (RepSR's modified BN; the paper does not
    give the value). From then on a block is linear and trains folded: the same gradients, faster. 1: never."""
    freeze_affine: bool = False
    """Whether gamma and beta of BatchNorm are frozen, too, from that step on (the paper leaves it open)."""
    ema_decay: float = 0.999
    """Decay of the moving average of the weights, which is what validation and the checkpoint use. 0: off."""

    precision: Precision = "fp32"
    """Arithmetic of convolutions while training; weights stay float32. `bf16` is faster where the processor has it;
    `fp16` scales the loss, and needs CUDA."""
    channels_last: bool = True
    """Memory layout of images and features: faster on nearly every machine, other rounding."""
    compile: bool = False
    """Compile the forward and backward pass with torch.compile: a minute at the start, then up to a third faster."""

    degradation: Degradation = "bicubic"
    """How LR crops are made: MATLAB's bicubic reduction, or blur, noise and JPEG in two rounds (Real-ESRGAN)."""
    usm: bool = False
    """Whether degradation=second-order trains towards sharpened HR crops (unsharp masking)."""

    spike_factor: float = 10.0
    """A step whose loss exceeds this many times the usual one is skipped. 0: only NaN and infinity are."""
    spike_patience: int = 10
    """Training stops, with its state saved, when so many of the last 1000 steps were skipped."""

    validate_every: int = 2000
    """Steps between validations."""
    save_every: int = 1000
    """Steps between saves of the state that --resume continues from."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in key_types(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(kind))}")
        for name, (accepts, expected) in _RANGES.items():
            value = getattr(self, name)
            if not accepts(value):
                raise UsageError(f"{name} is {plain(value)}; expected {expected}")
        for broken, message in self._conflicts():
            if broken:
                raise UsageError(message)

    def _conflicts(self) -> list[tuple[bool, str]]:
        """Rules across fields: whether each is broken, and what to say then."""
        return [
            (self.lr_end > self.lr, f"lr_end is {self.lr_end} and lr {self.lr}; expected lr_end at most lr"),
            (
                self.schedule == "steps" and not self.milestones,
                "schedule is 'steps' without milestones; set milestones, such as milestones=0.5,0.8",
            ),
            (
                self.schedule != "steps" and bool(self.milestones),
                f"milestones is {plain(self.milestones)}, but schedule is {self.schedule!r}; set schedule=steps",
            ),
            (
                self.luma_weight > 0 and self.network.colour == "y",
                f"luma_weight is {self.luma_weight}, but the network sees luma alone; set luma_weight=0",
            ),
            (
                self.freeze_affine and not self.has_norm,
                f"freeze_affine is true, but {self.network.name} has no BatchNorm; set freeze_affine=false",
            ),
            (
                self.usm and self.degradation != "second-order",
                f"usm is true, but degradation is {self.degradation!r}; set degradation=second-order or usm=false",
            ),
        ]

    @property
    def population_step(self) -> int:
        """First step that uses population statistics; 0 for networks without BatchNorm."""
        return round(self.steps * self.population_from) if self.has_norm else 0

    @property
    def has_norm(self) -> bool:
        """Whether the network has BatchNorm."""
        return isinstance(self.network, StackSpec | EdsrSpec) and self.network.norm != "none"

    def to_json(self) -> str:
        """One line of JSON: keys as --set takes them, those of the network in a mapping of its own."""
        return json.dumps(self.values())

    def values(self) -> dict[str, Any]:
        """Every key with its value, in types that JSON has."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        own["network"] = json.loads(self.network.to_json())
        return {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}

    @property
    def hash(self) -> str:
        """Short hash of everything the recipe says."""
        return sha256(self.to_json().encode())[:12]


def key_types(owner: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name, in order."""
    hints = get_type_hints(owner)
    return {item.name: hints[item.name] for item in fields(owner)}


def plain(value: Any) -> str:
    """A value as a user writes it: `0.5,0.8`, `true`, `1e-06`."""
    if isinstance(value, list | tuple):
        return ",".join(map(plain, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


Rule = tuple[Callable[[Any], bool], str]


def _at_least(low: float) -> Rule:
    return (lambda value: low <= value < math.inf), f"at least {low:g}"


def _fraction(value: float) -> bool:
    return 0 <= value <= 1


_POSITIVE: Rule = (lambda value: 0 < value < math.inf), "a number above 0"
_RANGES: dict[str, Rule] = {
    "steps": _at_least(1),
    "batch": _at_least(1),
    "patch": ((lambda value: value >= 8), "at least 8 LR pixels"),
    "betas": ((lambda betas: all(0 <= beta < 1 for beta in betas)), "two numbers from 0 to below 1"),
    "weight_decay": _at_least(0),
    "grad_clip": _at_least(0),
    "lr": ((lambda value: 0 < value < 1), "a number above 0 and below 1"),
    "lr_end": _at_least(0),
    "warmup": _at_least(0),
    "milestones": (
        (lambda marks: all(0 < mark < 1 for mark in marks) and list(marks) == sorted(set(marks))),
        "ascending fractions between 0 and 1",
    ),
    "gamma": ((lambda value: 0 < value <= 1), "a number above 0 up to 1"),
    "charbonnier_eps": _POSITIVE,
    "luma_weight": (_fraction, "a number from 0 to 1"),
    "population_from": (_fraction, "a fraction of the steps, 0 to 1"),
    "ema_decay": ((lambda value: 0 <= value < 1), "0 (off) up to below 1"),
    "spike_factor": ((lambda value: value == 0 or 1 < value < math.inf), "0 (off) or a number above 1"),
    "spike_patience": ((lambda value: 1 <= value <= 1000), "a whole number from 1 to 1000"),
    "validate_every": _at_least(1),
    "save_every": _at_least(1),
    "seed": _at_least(0),
}
