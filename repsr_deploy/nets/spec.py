"""What a network is, without torch: the frozen descriptions that checkpoints and models carry, one class a family."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

from repsr_deploy.errors import UsageError

StackFamily = Literal["repsr", "ecbsr", "plain"]
WdsrFamily = Literal["wdsr-a", "wdsr-b"]
Family = Literal["repsr", "ecbsr", "plain", "wdsr-a", "wdsr-b", "edsr", "srresnet"]
Colour = Literal["rgb", "y"]
Norm = Literal["none", "bn", "adadm"]
DropoutKind = Literal["channel", "element"]
Limit = tuple[int, int] | tuple[float, float] | tuple[str, ...]
"""Lowest and highest whole number, or number, or the texts to choose from."""

LIMITS: dict[str, Limit] = {
    "family": get_args(Family),
    "scale": (1, 4),
    "blocks": (1, 256),
    "channels": (1, 1024),
    "colour": get_args(Colour),
    "paths": (1, 8),
    "linear": (0.01, 16.0),
    "norm": get_args(Norm),
    "res_scale": (0.0, 16.0),
    "dropout": (0.0, 0.99),
    "dropout_kind": get_args(DropoutKind),
    "weight_norm": ("true", "false"),
    "is_folded": ("true", "false"),
}


def _check(name: str, value: Any, limit: Limit | None) -> None:
    """Raise UsageError where `value` is outside of `limit`."""
    match limit:
        case None:
            return
        case (int() as low, int() as high):
            fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
            expected = f"a whole number from {low} to {high}"
        case (float() as low, float() as high):
            fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
            expected = f"a number from {low:g} to {high:g}"
        case ("true", "false"):
            fits, expected = isinstance(value, bool), "true or false"
        case _:
            fits, expected = value in limit, "one of " + ", ".join(map(str, limit))
    if not fits:
        raise UsageError(f"network {name} is {value!r}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class NetSpec(ABC):
    """One network: N x C x H x W in 0..1 -> N x C x sH x sW, unclamped.

    Raises:
        UsageError: a field is outside its range.
    """

    family: Family
    scale: int
    """Enlargement, 1 to 4."""
    blocks: int
    """M: number of blocks between head and tail, at least 1."""
    channels: int
    """C: feature channels, at least 1."""
    colour: Colour = "rgb"
    """`rgb`: 3 channels in and out. `y`: luma alone, 1 channel."""

    limits: ClassVar[dict[str, Limit]] = {}
    """What a family takes other than `LIMITS`."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), self.limits.get(field.name, LIMITS.get(field.name)))

    @property
    @abstractmethod
    def title(self) -> str:
        """The family's name in the papers' spelling: `RepSR`."""

    @property
    @abstractmethod
    def halo(self) -> int | None:
        """Receptive-field radius in LR pixels; None where every pixel depends on the whole image."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers that the widest feature map of the folded network holds for each LR pixel."""

    @property
    @abstractmethod
    def folded(self) -> Self:
        """The network that this one folds into; a folded network folds into itself."""

    @property
    def kept(self) -> tuple[str, ...]:
        """What the folded network still computes though it looks foldable: one line each, with the reason."""
        return ()

    @property
    def name(self) -> str:
        """The papers' naming: `RepSR-M4C16`."""
        return f"{self.title}-M{self.blocks}C{self.channels}"

    @property
    def colours(self) -> int:
        """Image channels in and out: 3 or 1."""
        return 3 if self.colour == "rgb" else 1

    def to_json(self) -> str:
        """One line of JSON, keys in field order."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class StackSpec(NetSpec):
    """Head - M blocks - tail, one 3x3 convolution each once folded, nearest skip (RepSR, ECBSR, plain)."""

    family: StackFamily
    """`repsr` and `ecbsr` are trained with branches; `plain` is what both fold into."""
    expansion: int = 2
    """Width of a branch in units of `channels`; a plain network has no branches and ignores it."""
    paths: int = 2
    """Expand-and-squeeze paths of a RepSR block."""
    norm: Literal["none", "bn"] = "bn"
    """BatchNorm inside the paths of a RepSR block; `none` for the ablation without it."""

    limits: ClassVar[dict[str, Limit]] = {"expansion": (1, 16), "norm": ("none", "bn")}

    def __post_init__(self) -> None:
        if self.family != "repsr":  # what a family does not have is not told apart
            object.__setattr__(self, "paths", 1)
            object.__setattr__(self, "norm", "none")
        if self.family == "plain":
            object.__setattr__(self, "expansion", 1)
        super().__post_init__()

    @property
    def title(self) -> str:
        """`RepSR`, `ECBSR` or `Plain`."""
        return {"repsr": "RepSR", "ecbsr": "ECBSR", "plain": "Plain"}[self.family]

    @property
    def halo(self) -> int:
        """One pixel for each 3x3 convolution."""
        return self.blocks + 2

    @property
    def width(self) -> int:
        """Features or, at the tail, output pixels."""
        return max(self.channels, self.colours * self.scale**2)

    @property
    def folded(self) -> StackSpec:
        """The plain stack."""
        return replace(self, family="plain")


@dataclass(frozen=True, kw_only=True)
class WdsrSpec(NetSpec):
    """WDSR, wide activation (Yu et al., arXiv 1808.08718); fact sheet 3."""

    family: WdsrFamily
    expansion: float = 0
    """Features before the activation in units of `channels`; 0 means the paper's: 4 for WDSR-A, 6 for WDSR-B."""
    linear: float = 0.8
    """WDSR-B: features after the low-rank 1x1 convolution, in units of `channels`."""
    weight_norm: bool = True
    res_scale: float = 1.0
    """Factor of every block's branch."""
    is_folded: bool = False
    """Weight norm, mean and `res_scale` are in the weights."""

    limits: ClassVar[dict[str, Limit]] = {"expansion": (0.1, 16.0)}

    def __post_init__(self) -> None:
        if self.expansion == 0:
            object.__setattr__(self, "expansion", 4.0 if self.family == "wdsr-a" else 6.0)
        super().__post_init__()

    @property
    def title(self) -> str:
        """`WDSR-A` or `WDSR-B`."""
        return self.family.upper()

    @property
    def wide(self) -> int:
        """Features at the activation."""
        return max(1, int(self.channels * self.expansion))

    @property
    def narrow(self) -> int:
        """WDSR-B: features between the low-rank pair of convolutions."""
        return max(1, int(self.channels * self.linear))

    @property
    def pair_folds(self) -> bool:
        """WDSR-B: whether 1x1 and 3x3 as one 3x3 convolution take fewer multiplications than apart."""
        return 9 * self.wide * self.channels < self.narrow * (self.wide + 9 * self.channels)

    @property
    def halo(self) -> int:
        """Two pixels a block for WDSR-A, one for WDSR-B; the 5x5 skip reads two."""
        return max(2, self.blocks * (2 if self.family == "wdsr-a" else 1) + 2)

    @property
    def width(self) -> int:
        """The wide features, or the output pixels."""
        return max(self.wide, self.colours * self.scale**2)

    @property
    def folded(self) -> WdsrSpec:
        """The same without weight norm."""
        return replace(self, weight_norm=False, res_scale=1.0, is_folded=True)

    @property
    def kept(self) -> tuple[str, ...]:
        """The low-rank pair, where one convolution would cost more."""
        if self.family == "wdsr-a" or self.pair_folds:
            return ()
        apart, together = self.narrow * (self.wide + 9 * self.channels), 9 * self.wide * self.channels
        return (
            f"low-rank pair 1x1 {self.wide}->{self.narrow}, 3x3 {self.narrow}->{self.channels} of every block: "
            f"one 3x3 convolution would take {together:,} multiplications a pixel instead of {apart:,}",
        )


@dataclass(frozen=True, kw_only=True)
class EdsrSpec(NetSpec):
    """EDSR's residual network, plain, with BatchNorm, or with BatchNorm and AdaDM (arXiv 2111.13905); fact sheet 2."""

    family: Literal["edsr"] = "edsr"
    norm: Norm = "none"
    """`adadm`: BatchNorm before each convolution and the adaptive deviation modulator; `bn`: the norms alone."""
    res_scale: float = 1.0
    """Factor of every block's branch; 0.1 for the large network."""
    is_folded: bool = False
    """BatchNorm and `res_scale` are in the weights, as far as they fold exactly."""

    @property
    def title(self) -> str:
        """`EDSR`, `EDSR-BN` or `EDSR-AdaDM`."""
        return {"none": "EDSR", "bn": "EDSR-BN", "adadm": "EDSR-AdaDM"}[self.norm]

    @property
    def halo(self) -> int | None:
        """None with AdaDM, whose factor depends on the deviation over the whole image."""
        return None if self.norm == "adadm" else 1 + 2 * self.blocks + 1 + _reach_of_upsampler(self.scale, 1)

    @property
    def width(self) -> int:
        """The features at full resolution."""
        return self.channels * self.scale**2

    @property
    def folded(self) -> EdsrSpec:
        """The same with BatchNorm in the convolutions."""
        return replace(self, res_scale=1.0, is_folded=True)

    @property
    def kept(self) -> tuple[str, ...]:
        """The shift of BatchNorm before a padded convolution, and AdaDM's factor."""
        shift = (
            "shift of the BatchNorm before every padded 3x3 convolution: one subtraction for each feature, for a bias "
            "would differ at the border"
        )
        factor = "factor exp(w log(deviation) + b) of every block: it depends on the image"
        return {"none": (), "bn": (shift,), "adadm": (shift, factor)}[self.norm]


_DROPOUT_AT = re.compile(r"last-conv|block-(\d+)|(conv1|conv2|sum)-(quarter|half|all)")


@dataclass(frozen=True, kw_only=True)
class SrresnetSpec(NetSpec):
    """SRResNet without BatchNorm, with Reflash dropout (Kong et al., arXiv 2112.12089); fact sheet 4."""

    family: Literal["srresnet"] = "srresnet"
    dropout: float = 0.0
    """Probability that a channel, or an element, is dropped in training; 0 is off, the paper takes 0.7."""
    dropout_kind: DropoutKind = "channel"
    dropout_at: str = "last-conv"
    """`last-conv`: before the last convolution. `block-K`: after block K. `conv1`, `conv2`, `sum` with `-quarter`,
    `-half` or `-all`: at that place inside the last quarter, half or all of the blocks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        match = _DROPOUT_AT.fullmatch(self.dropout_at)
        if match is None or (match[1] and not 1 <= int(match[1]) <= self.blocks):
            raise UsageError(
                f"network dropout_at is {self.dropout_at!r}; expected last-conv, block-1 to block-{self.blocks}, or "
                "conv1, conv2 or sum with -quarter, -half or -all"
            )

    def drops(self, place: str, block: int = 0) -> bool:
        """Whether dropout sits at `last-conv`, or at `conv1`, `conv2` or `sum` of a block, counted from 1."""
        if self.dropout == 0:
            return False
        match = _DROPOUT_AT.fullmatch(self.dropout_at)
        assert match is not None
        if match[1]:
            return place == "sum" and block == int(match[1])
        if match[2]:
            share = {"quarter": 4, "half": 2, "all": 1}[match[3]]
            return place == match[2] and block > self.blocks - math.ceil(self.blocks / share)
        return place == "last-conv"

    @property
    def title(self) -> str:
        """`SRResNet` or, with dropout, `SRResNet-Dropout`."""
        return "SRResNet-Dropout" if self.dropout else "SRResNet"

    @property
    def halo(self) -> int:
        """Two pixels a block, and what the convolutions at full resolution see; the bilinear skip sees one."""
        return 1 + 2 * self.blocks + _reach_of_upsampler(self.scale, 2)

    @property
    def width(self) -> int:
        """The features at full resolution."""
        return self.channels * self.scale**2

    @property
    def folded(self) -> SrresnetSpec:
        """The same without dropout."""
        return replace(self, dropout=0.0)


SPECS: dict[str, type[NetSpec]] = {
    **dict.fromkeys(get_args(StackFamily), StackSpec),
    **dict.fromkeys(get_args(WdsrFamily), WdsrSpec),
    "edsr": EdsrSpec,
    "srresnet": SrresnetSpec,
}
"""Family -> class of its description."""

_NAMED: dict[str, dict[str, Any]] = {
    **{family: {"family": family} for family in (*get_args(StackFamily), *get_args(WdsrFamily))},
    "edsr": {"family": "edsr"},
    "edsr-bn": {"family": "edsr", "norm": "bn"},
    "edsr-adadm": {"family": "edsr", "norm": "adadm"},
    "srresnet": {"family": "srresnet"},
    "srresnet-dropout": {"family": "srresnet", "dropout": 0.7},
}


def family_names() -> Iterable[str]:
    """What `parse_name` knows in the place of FAMILY."""
    return _NAMED.keys()


def upsampler_factors(scale: int) -> list[int]:
    """Factors of the PixelShuffle steps of EDSR and SRResNet: x4 in two steps."""
    return {1: [], 2: [2], 3: [3], 4: [2, 2]}[scale]


def _reach_of_upsampler(scale: int, last: int) -> int:
    """LR pixels that a chain of (3x3, PixelShuffle) steps and `last` 3x3 convolutions at full resolution see."""
    reach = last
    for factor in reversed(upsampler_factors(scale)):
        reach = math.ceil(reach / factor) + 1
    return reach


def spec_from(values: dict[str, Any]) -> NetSpec:
    """A description from its fields by name, `family` among them.

    Raises:
        UsageError: unknown or missing keys, or values out of range.
    """
    family = values.get("family")
    if family not in SPECS:
        raise UsageError(f"network family is {family!r}; expected one of {', '.join(SPECS)}")
    try:
        return SPECS[family](**values)
    except TypeError as error:
        known = ", ".join(field.name for field in dataclasses.fields(SPECS[family]))
        raise UsageError(f"not a {family} network: {values!r} ({error}); its fields are {known}") from error


def spec_from_json(text: str) -> NetSpec:
    """The inverse of `NetSpec.to_json`.

    Raises:
        UsageError: not JSON, unknown or missing keys, or values out of range.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"not a network spec: {text[:200]!r} ({error})") from error
    if not isinstance(values, dict):
        raise UsageError(f"not a network spec: {text[:200]!r}; expected a JSON object")
    return spec_from(values)


def parse_name(name: str) -> NetSpec:
    """The network of a name such as `repsr-m4c16-x2`: family, blocks, channels, scale; `-y` at the end for luma only.

    Raises:
        UsageError: no such name.
    """
    match = re.fullmatch(r"([a-z-]+)-m(\d+)c(\d+)-x(\d+)(-y)?", name.lower())
    if match is None or match[1] not in _NAMED:
        families = ", ".join(_NAMED)
        raise UsageError(
            f"unknown network {name!r}; expected FAMILY-mMcC-xS such as repsr-m4c16-x2, FAMILY one of {families}"
        )
    sizes = {"blocks": int(match[2]), "channels": int(match[3]), "scale": int(match[4])}
    return spec_from({**_NAMED[match[1]], **sizes, "colour": "y" if match[5] else "rgb"})
