"""From a folded float32 network to the form in which it is deployed: precision, io, opset, shapes, kind of file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir

from repsr_deploy._version import __version__
from repsr_deploy.errors import UsageError
from repsr_deploy.export.form import Sides, with_opset, with_shape
from repsr_deploy.export.guard import safe_half
from repsr_deploy.export.int8.convert import to_int8
from repsr_deploy.export.int8.images import low
from repsr_deploy.export.int8.report import Int8Report
from repsr_deploy.export.int8.tuned import tuned_plan
from repsr_deploy.export.io import to_features, to_images
from repsr_deploy.export.pictures import extremes, photographs
from repsr_deploy.export.saving import save_graph, staged
from repsr_deploy.export.selftest import RuntimeCheck, self_test
from repsr_deploy.model_info import ModelInfo, ModelIo, Precision
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES, Shapes

Format = Literal["onnx", "openvino", "tensorrt", "tensorrt-rtx"]
FORMATS: dict[str, Format] = {".onnx": "onnx", ".xml": "openvino", ".engine": "tensorrt", ".plan": "tensorrt"}
"""What is written, by the name of the file."""

Say = Callable[[str], None]
"""Told what happens while it takes long."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The form in which a network is wanted."""

    precision: Precision = "fp32"
    io: ModelIo = "float"
    opset: int | None = None
    """ONNX operator set; None for the oldest that can say it."""
    shape: str = ""
    """`NxCxHxW` or `HxW`: the only images that a model takes. An engine also takes `MIN:OPT:MAX`, its profile."""
    level: int = 3
    """An engine's builder level, 0 to 5 (`BuildOptions.level`)."""
    format: Format | None = None
    """None: by the name of the file."""
    max_drop_db: float = 0.1
    """How much PSNR-Y `int8` may cost on `validation`."""
    photographs: Sequence[Path] = ()
    """HR photographs for calibration and for the guard against overflow; none for scikit-image's."""
    validation: Sequence[Path] = ()
    """HR photographs on which `max_drop_db` must hold; none for `photographs`."""

    @property
    def changes_model(self) -> bool:
        """Whether it asks for anything but the float32 model as the fold leaves it."""
        return (self.precision, self.io, self.opset, self.shape) != ("fp32", "float", None, "")

    def format_of(self, out: Path) -> Format:
        """The kind of file to be written to `out`.

        Raises:
            UsageError: the name fits no kind, or another one than was asked for.
        """
        named = FORMATS.get(out.suffix.lower())
        if named is None:
            raise UsageError(f"output is {out}; expected a name that ends in {', '.join(FORMATS)}")
        if self.format is None or self.format == named or (self.format, named) == ("tensorrt-rtx", "tensorrt"):
            return self.format or named
        suffix = next(suffix for suffix, kind in FORMATS.items() if self.format.startswith(kind))
        raise UsageError(f"format {self.format} is written to a file that ends in {suffix}, not to {out}")


PLAIN = Target()
"""As the fold leaves it."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written and what was found."""

    info: ModelInfo
    checks: tuple[RuntimeCheck, ...]
    """The file in every runtime here, against PyTorch."""
    notes: tuple[str, ...] = ()
    """What a user should know: other precisions than the one asked for, layers that stayed longer."""
    int8: Int8Report | None = None


@dataclass
class _Typed:
    """A graph on its way."""

    model: ir.Model
    info: ModelInfo
    notes: list[str] = field(default_factory=list[str])
    int8: Int8Report | None = None


def convert(model: ir.Model, info: ModelInfo, out: Path, target: Target, say: Say) -> Conversion:
    """Write a folded float32 network in another form; `out` appears only after it has passed in every runtime here.

    Args:
        model: as the fold left it; float32 and of io `float`, unless it is to stay what it is.
        out: .onnx, .xml (OpenVINO) or .engine (TensorRT).

    Raises:
        UsageError: a form that cannot be, or photographs that do not fit.
        ModelFileError: the network itself overflows, or has not the form that `io` needs.
        ProofError: a runtime computes something else; no file is written.
        RuntimeUnavailableError: the builder of that format is not installed.
        RepsrError: `out` cannot be written.
    """
    kind = target.format_of(out)
    if (info.precision, info.io) != ("fp32", "float") != (target.precision, target.io):
        raise UsageError(
            f"{info.name} is {info.precision} of io {info.io} already; {target.precision} of io {target.io} is made of "
            "the fp32 model of io float, so export it from that"
        )
    typed = _typed(model, info, target, say)
    typed = _formed(typed, target, _fixed(target.shape) if kind in ("onnx", "openvino") else None)
    typed.model.metadata_props.update(typed.info.to_props())
    with tempfile.TemporaryDirectory(prefix="repsr-export-") as folder, staged(out) as staging:
        plain = save_graph(typed.model, (staging if kind == "onnx" else Path(folder) / out.name).with_suffix(".onnx"))
        checks = tuple(self_test(plain, model, typed.info))
        match kind:
            case "onnx":
                pass
            case "openvino":
                from repsr_deploy.runtimes.openvino_model import save_openvino

                save_openvino(plain, staging)
            case "tensorrt" | "tensorrt-rtx":
                _build(plain, staging, kind, target, say)
    return Conversion(info=typed.info, checks=checks, notes=tuple(typed.notes), int8=typed.int8)


def _typed(model: ir.Model, info: ModelInfo, target: Target, say: Say) -> _Typed:
    """The graph in the precision that is wanted, or in the next longer one that does not overflow."""
    if target.precision == "fp32":
        return _Typed(model.clone(), info)
    calibration = photographs(target.photographs, info.scale)
    if target.precision == "int8":
        validation = photographs(target.validation, info.scale) if target.validation else None
        result = to_int8(
            model,
            info,
            calibration,
            max_drop_db=target.max_drop_db,
            validation=validation,
            plan=tuned_plan(model, info.history),
            say=say,
        )
        return _Typed(result.model, replace(info, precision=result.report.precision), int8=result.report)
    say(f"looking for overflow in {target.precision}")
    guarded = safe_half(model, target.precision, {**low(calibration, info), **extremes()})
    return _Typed(guarded.model, replace(info, precision=guarded.precision), list(guarded.notes))


def _fixed(text: str) -> Sides | None:
    if not text:
        return None
    shapes = Shapes.parse(text)
    if shapes.smallest != shapes.largest:
        raise UsageError(f"shape {text} is a range, which engines have; expected one shape, or none for any")
    return shapes.usual.count, shapes.usual.height, shapes.usual.width


def _formed(typed: _Typed, target: Target, fixed: Sides | None) -> _Typed:
    """The graph with the io, the operator set and the shapes that are wanted; None leaves them dynamic."""
    model, info = typed.model, typed.info
    if target.io == "image":
        if info.colour != "rgb":
            raise UsageError(f"{info.name} sees luma alone; io image is for RGB networks, expected io float")
        model = to_images(model)
    elif target.io == "features":
        model, skip = to_features(model)
        info = replace(info, skip=skip)
    if target.opset is not None:
        model = with_opset(model, target.opset)
    if fixed is not None:
        model = with_shape(model, fixed)
    if target.io != "float":
        info = replace(info, io=target.io)
    if target.changes_model:
        entry: dict[str, Any] = {
            "stage": "export",
            "version": __version__,
            "precision": info.precision,
            "io": info.io,
            "int8": None if typed.int8 is None else typed.int8.to_dict(),
        }
        info = replace(info, history=[*info.history, entry])
    return _Typed(model, info, typed.notes, typed.int8)


def _build(model: Path, out: Path, flavour: Flavour, target: Target, say: Say) -> None:
    from repsr_deploy.runtimes.tensorrt.build import build_engine

    shapes = Shapes.parse(target.shape) if target.shape else DEFAULT_SHAPES
    options = BuildOptions(shapes=shapes, level=target.level)

    def progress(share: float, phase: str) -> None:
        say(f"{phase} {share:.0%}")

    build_engine(model, out, flavour=flavour, options=options, progress=progress)
