"""What will be made of a picture, known from its header; and the refusals that follow from that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_bytes import MAX_SIDE
from repsr_deploy.imaging.upscaler import checked_factor
from repsr_deploy.model_info import ModelInfo
from repsr_serve.codec import Header
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The way of one picture."""

    source: Header
    factor: float
    passes: tuple[int, ...]
    """Input pixels of every run of the network."""
    network_pixels: int
    """What the last run gives."""
    size: tuple[int, int]
    """(width, height) of the result."""
    format: WebFormat
    """Of the result."""

    @property
    def work_pixels(self) -> int:
        """Input pixels of all runs."""
        return sum(self.passes)


def plan_picture(source: Header, order: Order, info: ModelInfo, *, max_pixels: int, max_factor: float) -> Plan:
    """Plan an order, or refuse it.

    Raises:
        Problem: `too-many-pixels`; `parameters` for a factor, quality, depth or size of the result that cannot be.
    """
    check_pixels(source.width, source.height, max_pixels)
    factor = float(info.scale) if order.factor is None else order.factor
    _check_order(order, factor, max_factor)
    if info.io == "image" and source.sample_bytes > 1:
        raise Problem(
            "parameters",
            f"The picture has 16 bits, and {info.name} takes and gives 8; expected 8 bits, or another model.",
        )
    form = order.format or source.format
    width, height = result_size(source.width, source.height, factor)
    if max(width, height) > MAX_SIDE[form]:
        raise Problem(
            "parameters",
            f"The result has {width} x {height} pixels, and {form.upper()} holds at most {MAX_SIDE[form]} a side; "
            "ask for another format or a smaller scale.",
        )
    scales = [info.scale**run for run in range(network_runs(info.scale, factor) + 1)]
    return Plan(
        source=source,
        factor=factor,
        passes=tuple(source.pixels * scale**2 for scale in scales[:-1]),
        network_pixels=source.pixels * scales[-1] ** 2,
        size=(width, height),
        format=form,
    )


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture that is too large.

    Raises:
        Problem: `too-many-pixels`, with both figures.
    """
    if width * height > max_pixels:
        raise Problem(
            "too-many-pixels",
            f"The picture has {width} x {height} = {width * height} pixels; expected at most {max_pixels}.",
            extra={"pixels": width * height, "max_pixels": max_pixels},
        )


def network_runs(scale: int, factor: float) -> int:
    """How often a network runs until a factor is reached, as `Upscaler.upscale` says: once at least."""
    runs = 1
    while scale > 1 and scale**runs < factor:
        runs += 1
    return runs


def result_size(width: int, height: int, factor: float) -> tuple[int, int]:
    """(width, height) of what `Upscaler.upscale` gives."""
    return max(1, math.floor(width * factor + 0.5)), max(1, math.floor(height * factor + 0.5))


def _check_order(order: Order, factor: float, max_factor: float) -> None:
    try:
        checked_factor(factor)
    except UsageError as error:
        raise Problem("parameters", f"{error}.") from error
    if factor > max_factor:
        raise Problem("parameters", f"The scale is {factor:g}; expected at most {max_factor:g} here.")
    if not 1 <= order.quality <= 100:
        raise Problem("parameters", f"The quality is {order.quality}; expected 1 to 100.")
