"""Inputs and outputs of a model, checked the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from repsr_deploy.errors import ModelFileError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes.base import Limits

ANY = (1, 2**31 - 1)
"""What a dynamic side may be."""


@dataclass(frozen=True)
class Port:
    """An input or an output."""

    name: str
    dtype: str
    """NumPy's name of the type, or the backend's own."""
    shape: tuple[int | None, ...]
    """None where a side is dynamic."""


class Taken(NamedTuple):
    """What a model takes."""

    colour: Colour
    """`rgb` where the channels are dynamic and not stated."""
    limits: Limits | None
    """None where all sides are dynamic."""


def check_ports(inputs: Sequence[Port], outputs: Sequence[Port], info: ModelInfo | None, label: str) -> Taken:
    """Refuse a model that is not one from images to what its io says; `info` None stands for a foreign one.

    Raises:
        ModelFileError: says what was found and what is expected.
    """
    io = "float" if info is None else info.io
    found = _channels(inputs, "input", label, io, dynamic=info is None)
    colour: Colour = info.colour if info is not None else "y" if found == 1 else "rgb"
    colours = 3 if colour == "rgb" else 1
    if found not in (None, colours):
        raise ModelFileError(f"{label} says colour {colour!r} but takes {found} channels; export it again")
    yielded = _channels(outputs, "output", label, io, dynamic=info is None)
    if info is not None and io == "features":
        colours *= info.scale**2
    if yielded not in (None, colours):
        raise ModelFileError(f"{label} gives {yielded} channels; expected {colours} of io {io}: export it again")
    sides = (0, 1, 2) if io == "image" else (0, 2, 3)
    count, height, width = ((side, side) if (side := inputs[0].shape[axis]) else ANY for axis in sides)
    limits = Limits(count=count, height=height, width=width)
    return Taken(colour, None if limits == Limits(count=ANY, height=ANY, width=ANY) else limits)


def _channels(ports: Sequence[Port], role: str, label: str, io: str, *, dynamic: bool) -> int | None:
    """Channel count of the only input or output; None when dynamic. `dynamic`: so must H and W be."""
    dtype, layout = ("uint8", "N x H x W x C") if io == "image" else ("float32", "N x C x H x W")
    free = " and dynamic H and W" if dynamic else ""
    expected = f"expected one {dtype} image {layout} with 1 or 3 channels{free} as {role}"
    if len(ports) != 1:
        raise ModelFileError(f"{label} has {len(ports)} {role}s; {expected}")
    port = ports[0]
    axis, sides = (3, port.shape[1:3]) if io == "image" else (1, port.shape[2:])
    if (
        port.dtype != dtype
        or len(port.shape) != 4
        or (dynamic and any(side is not None for side in sides))
        or (role == "input" and port.shape[axis] not in (None, 1, 3))
    ):
        raise ModelFileError(f"{label} has {role} {port.name!r}: {port.dtype} of shape {port.shape}; {expected}")
    return port.shape[axis]
