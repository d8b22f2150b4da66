"""Inputs and outputs of a model, checked the same for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from repsr_deploy.errors import ModelFileError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour


@dataclass(frozen=True)
class Port:
    """An input or an output."""

    name: str
    dtype: str
    """NumPy's name of the type, or the backend's own."""
    shape: tuple[int | None, ...]
    """None where a side is dynamic."""


def check_ports(inputs: Sequence[Port], outputs: Sequence[Port], info: ModelInfo | None, label: str) -> Colour:
    """Refuse a model that is not one from images to what its io says; `info` None stands for a foreign one.

    Returns:
        The colour that its input takes; `rgb` where that is dynamic and not stated.

    Raises:
        ModelFileError: says what was found and what is expected.
    """
    io = "float" if info is None else info.io
    found = _channels(inputs, "input", label, io)
    colour: Colour = info.colour if info is not None else "y" if found == 1 else "rgb"
    colours = 3 if colour == "rgb" else 1
    if found not in (None, colours):
        raise ModelFileError(f"{label} says colour {colour!r} but takes {found} channels; export it again")
    yielded = _channels(outputs, "output", label, io)
    if info is not None and io == "features":
        colours *= info.scale**2
    if yielded not in (None, colours):
        raise ModelFileError(f"{label} gives {yielded} channels; expected {colours} of io {io}: export it again")
    return colour


def _channels(ports: Sequence[Port], role: str, label: str, io: str) -> int | None:
    """Channel count of the only input or output; None when dynamic."""
    dtype, layout = ("uint8", "N x H x W x C") if io == "image" else ("float32", "N x C x H x W")
    expected = f"expected one {dtype} image {layout} with 1 or 3 channels and dynamic H and W as {role}"
    if len(ports) != 1:
        raise ModelFileError(f"{label} has {len(ports)} {role}s; {expected}")
    port = ports[0]
    axis, sides = (3, port.shape[1:3]) if io == "image" else (1, port.shape[2:])
    if (
        port.dtype != dtype
        or len(port.shape) != 4
        or any(side is not None for side in sides)
        or (role == "input" and port.shape[axis] not in (None, 1, 3))
    ):
        raise ModelFileError(f"{label} has {role} {port.name!r}: {port.dtype} of shape {port.shape}; {expected}")
    return port.shape[axis]
