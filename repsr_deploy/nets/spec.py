"""What a network is, without torch: the frozen description that checkpoints and models carry."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from repsr_deploy.errors import UsageError

Family = Literal["repsr", "ecbsr", "plain"]
Colour = Literal["rgb", "y"]

_NAMES: dict[str, str] = {"repsr": "RepSR", "ecbsr": "ECBSR", "plain": "Plain"}


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """One network of the family head - M blocks - tail - PixelShuffle.

    Raises:
        UsageError: a field is outside its range.
    """

    family: Family
    """`repsr` and `ecbsr` are trained with branches; `plain` is what both fold into."""
    scale: int
    """Enlargement, 1 to 4."""
    blocks: int
    """M: number of blocks between head and tail, at least 1."""
    channels: int
    """C: feature channels, at least 1."""
    expansion: int = 2
    """Width of a branch in units of `channels`; a plain network has no branches and ignores it."""
    colour: Colour = "rgb"
    """`rgb`: 3 channels in and out. `y`: luma alone, 1 channel."""

    def __post_init__(self) -> None:
        limits = {"scale": (1, 4), "blocks": (1, 256), "channels": (1, 1024), "expansion": (1, 16)}
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise UsageError(f"network {field} is {value!r}; expected a whole number from {low} to {high}")
        for field, choices in (("family", get_args(Family)), ("colour", get_args(Colour))):
            if getattr(self, field) not in choices:
                raise UsageError(f"network {field} is {getattr(self, field)!r}; expected one of {', '.join(choices)}")

    @property
    def name(self) -> str:
        """The papers' naming: `RepSR-M4C16`."""
        return f"{_NAMES[self.family]}-M{self.blocks}C{self.channels}"

    @property
    def colours(self) -> int:
        """Image channels in and out: 3 or 1."""
        return 3 if self.colour == "rgb" else 1

    @property
    def halo(self) -> int:
        """Receptive-field radius in LR pixels: one per 3x3 convolution of the folded network."""
        return self.blocks + 2

    @property
    def folded(self) -> NetSpec:
        """The plain network that this one folds into."""
        return NetSpec(
            family="plain",
            scale=self.scale,
            blocks=self.blocks,
            channels=self.channels,
            expansion=1,
            colour=self.colour,
        )

    def to_json(self) -> str:
        """One line of JSON, keys in field order."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> NetSpec:
        """The inverse of `to_json`.

        Raises:
            UsageError: not JSON, unknown or missing keys, or values out of range.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise UsageError(f"not a network spec: {text[:200]!r} ({error})") from error
