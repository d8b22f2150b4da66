"""The shapes of an engine's input, from text to trtexec's flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelIo
from repsr_deploy.runtimes.tensorrt.shapes import Dims, Shape, Shapes

RGB = 3


@dataclass(frozen=True)
class Input:
    """The one input of a model."""

    name: str
    sides: tuple[int | None, ...]
    """Four; None for one that may be of any length."""

    @property
    def io(self) -> ModelIo:
        """Which sides are height and width: those before the channels where only the last side can be channels."""
        return "image" if self.sides[3] in (1, RGB) and self.sides[1] not in (1, RGB) else "float"

    def dims(self, shape: Shape) -> Dims:
        """A shape as this input takes it.

        Raises:
            UsageError: it does not.
        """
        channels = self.sides[3 if self.io == "image" else 1] or RGB
        dims = shape.dims(self.io, channels)
        if any(known not in (None, side) for side, known in zip(dims, self.sides, strict=True)):
            raise UsageError(f"shape {_text(dims)} does not fit the model's input {self.name}, {_text(self.sides)}")
        return dims


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine is built for, and the one of them that is timed."""

    smallest: Dims
    usual: Dims
    """For which the builder chooses its kernels."""
    largest: Dims
    timed: Dims


def read_input(model: Path) -> Input:
    """Read which input an ONNX file has.

    Raises:
        RuntimeUnavailableError: the onnx package is not installed.
        ModelFileError: not an ONNX model, or one that does not take exactly one image.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"reading the input of {model} needs the onnx package ({error}); `pip install onnx`"
        ) from error
    try:
        graph = onnx.load(model, load_external_data=False).graph
    except OSError as error:
        raise ModelFileError(f"cannot read {model}: {error.strerror}; expected an .onnx file") from error
    except DecodeError as error:
        raise ModelFileError(f"{model} is not a complete ONNX model ({error}); export it again") from error
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelFileError(f"{model} has {len(inputs)} inputs ({names}); expected one, an image")
    (value,) = inputs
    found = value.type.tensor_type.shape.dim
    sides = tuple(side.dim_value if side.HasField("dim_value") else None for side in found)
    if len(sides) != 4:
        raise ModelFileError(f"input {value.name} of {model} is {_text(sides) or 'without sides'}; expected four sides")
    return Input(value.name, sides)


def read_profile(source: Input, shapes: str | None, timed: str | None) -> Profile | None:
    """The shapes to build and time; None for a model of fixed shape, which takes no flags about it.

    Raises:
        UsageError: `shapes` or `timed` are no shapes, contradict the model, or are missing for a model of any shape.
    """
    fixed = None not in source.sides
    if shapes is None:
        if not fixed:
            raise UsageError(
                f"the model takes any {_text(source.sides)} and no shapes are given; expected MIN:OPT:MAX, such as "
                "64x64:360x640:1080x1920, or one such shape"
            )
        return None
    built = Shapes.parse(shapes)
    chosen = built.usual if timed is None else _one(timed)
    if not (built.smallest.fits_in(chosen) and chosen.fits_in(built.largest)):
        raise UsageError(f"the shape to time, {chosen}, is outside {built.smallest} to {built.largest}")
    profile = Profile(*map(source.dims, (*built.all, chosen)))
    return None if fixed else profile


def shape_flags(name: str, profile: Profile) -> list[str]:
    """The flags for a profile of the input `name`."""
    flags = {"min": profile.smallest, "opt": profile.usual, "max": profile.largest}
    built = [f"--{flag}Shapes={name}:{_text(dims)}" for flag, dims in flags.items()]
    return [*built, f"--shapes={name}:{_text(profile.timed)}"]


def _one(text: str) -> Shape:
    shapes = Shapes.parse(text)
    if ":" in text:
        raise UsageError(f"the shape to time, {text!r}, is several; expected one, such as 360x640")
    return shapes.usual


def _text(sides: Sequence[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in sides)
