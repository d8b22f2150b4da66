"""What became of a network in int8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from repsr_deploy.export.int8.calibrate import Ranges
from repsr_deploy.model_info import Precision

DIGITS = 4
"""Decimals of dB and levels in a file."""


@dataclass(frozen=True, kw_only=True)
class Int8Layer:
    """One convolution."""

    name: str
    precision: Precision
    """`int8`, or `fp32` where it stayed float."""
    sensitivity_db: float | None = None
    """By how much PSNR-Y falls when it alone is int8, on the middles of some validation photographs; below zero where
    it rises. None for a convolution that cannot be int8."""
    reason: str = ""
    """Why it stayed float."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The same network in one runtime on the validation photographs."""

    runtime: str
    psnr_y_before: float
    """In float32, dB."""
    psnr_y_after: float

    @property
    def drop_db(self) -> float:
        """How much lower it is now."""
        return 0.0 if self.psnr_y_after == self.psnr_y_before else self.psnr_y_before - self.psnr_y_after


@dataclass(frozen=True, kw_only=True)
class Int8Report:
    """Which layers are int8, what that costs, and how it was found out."""

    layers: tuple[Int8Layer, ...]
    """All convolutions, in the order in which they run."""
    measured: tuple[Measurement, ...]
    """The runtime in which layers were chosen first."""
    max_drop_db: float
    colour_error_levels: float
    """Largest change of a flat colour's mean (black, white, gray, primaries and their sums), levels of 255."""
    ranges: Ranges | None
    """Which pictures are not clipped (`calibrate.Ranges`); None where the plan was given."""
    unusual_db: Mapping[str, float] = field(default_factory=dict[str, float])
    """PSNR against float32 on pictures that no photograph is like, dB: what clipping does to them."""
    photographs: tuple[str, ...]
    """Calibrated on, by name."""
    validation: tuple[str, ...]
    """Measured on."""

    @property
    def precision(self) -> Precision:
        """`fp32` where no layer could be int8 within the budget."""
        return "int8" if any(layer.precision == "int8" for layer in self.layers) else "fp32"

    @property
    def drop_db(self) -> float:
        """PSNR-Y that it costs, dB, in the runtime in which layers were chosen."""
        return self.measured[0].drop_db

    def lines(self) -> dict[str, str]:
        """What to show, label -> text."""
        count = sum(layer.precision == "int8" for layer in self.layers)
        lines = {"int8": f"{count} of {len(self.layers)} convolutions"}
        if self.precision == "fp32":
            lines["int8"] += f": none within {self.max_drop_db:g} dB, so the network stays float32"
        for layer in self.layers:
            if layer.precision != "int8":
                lines[f"float: {layer.name}"] = layer.reason
        for item in self.measured:
            lines[f"PSNR-Y in {item.runtime}"] = (
                f"{item.psnr_y_before:.3f} -> {item.psnr_y_after:.3f} dB, a drop of {item.drop_db:.3f} dB "
                f"({self.max_drop_db:g} allowed), on {len(self.validation)} photographs"
            )
        lines["flat colours change by up to"] = f"{self.colour_error_levels:.2f} levels of 255"
        if self.unusual_db:
            name = min(self.unusual_db, key=lambda key: self.unusual_db[key])
            lines["worst unusual picture"] = f"{name}, {self.unusual_db[name]:.1f} dB from float32"
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinite ones are the string "inf"."""
        return _plain({"precision": self.precision, "drop_db": self.drop_db, **asdict(self)})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return "inf" if value == math.inf else round(value, DIGITS)
    return value
