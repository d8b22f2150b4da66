"""From a folded float32 network to int8, within a budget of PSNR."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir

from repsr_deploy.errors import UsageError
from repsr_deploy.export.half import QUANTIZED
from repsr_deploy.export.int8 import images
from repsr_deploy.export.int8.calibrate import RANGES, Ranges, calibration_for, observe_all
from repsr_deploy.export.int8.layers import convolutions
from repsr_deploy.export.int8.measure import (
    Meter,
    Score,
    colour_errors,
    colours_hold,
    drop_db,
    likeness_db,
    measuring_runtimes,
)
from repsr_deploy.export.int8.plan import QuantPlan
from repsr_deploy.export.int8.qdq import write_qdq
from repsr_deploy.export.int8.report import Int8Layer, Int8Report, Measurement
from repsr_deploy.export.int8.search import fewest
from repsr_deploy.export.pictures import Pictures, extremes
from repsr_deploy.model_info import ModelInfo

ALONE_PHOTOGRAPHS, ALONE_SIDE = 8, 128
"""Photographs, and LR pixels of their middle along a side, on which every layer is tried alone."""

ROOM_SHARE = 0.75
"""Of the budget that room for unusual pictures may use up; the rest is for other photographs and other runtimes."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Int8Result:
    """A network in int8, and how good it is."""

    model: ir.Model
    report: Int8Report


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One way of quantizing a network."""

    plan: QuantPlan
    quantized: Callable[[Collection[str]], ir.Model]
    """The network in int8, but for some layers."""
    ranges: Ranges | None

    def alone(self, name: str) -> ir.Model:
        """With one layer in int8."""
        return self.quantized([layer.name for layer in self.plan.layers if layer.name != name])


def to_int8(
    model: ir.Model,
    info: ModelInfo,
    photographs: Pictures,
    *,
    max_drop_db: float = 0.1,
    validation: Pictures | None = None,
    plan: QuantPlan | None = None,
    say: Say,
) -> Int8Result:
    """Quantize a network so that its PSNR-Y falls by no more than `max_drop_db`, and flat colours stay.

    Its channels are equalised, scales chosen by min-max on photographs and on pictures of hard edges, and biases
    corrected. Ranges are as wide as the budget allows with a quarter to spare (`calibrate.Ranges`). Where even the
    narrowest do not hold it, the most sensitive layers stay float until it does; where nothing in int8 does, the float
    network comes back.

    Args:
        model: folded, float32, io `float`; not changed.
        photographs: HR, RGB, for calibration.
        max_drop_db: how much PSNR-Y may fall on `validation`, dB.
        validation: HR, RGB; None for `photographs`.
        plan: where to quantize, and with which scales, for a network that was trained for it; None to calibrate.
        say: told what happens while it takes long.

    Raises:
        UsageError: a negative budget, no photographs, another kind of model, or one without inner convolutions.
        ModelFileError: the network works on other values than 0..1, or gives NaN.
        RuntimeUnavailableError: no runtime is installed in which it can be measured.
        FoldError: the network cannot be evaluated.
    """
    shown = photographs if validation is None else validation
    _check(model, info, shown, max_drop_db)
    if plan is not None and not plan.layers:
        raise UsageError("the plan has no layers; expected at least one in int8")
    usual, *others = measuring_runtimes(info)
    pictures = _Shown(model, info, shown)
    judge = _Judge(pictures.meter(usual), model, max_drop_db, say)
    forms = _calibrated(model, info, photographs, say) if plan is None else iter([_given(model, plan)])
    form = _widest(forms, judge)
    alone = _drops_alone(pictures.meter_of_middles(usual), model, form, say)
    kept: tuple[str, ...] = ()
    if not judge.accepts(form):
        order = sorted(alone, key=lambda name: alone[name], reverse=True)
        kept = fewest(order, partial(judge.accepts, form))
    is_float = len(kept) == len(alone)
    result = model.clone() if is_float else form.quantized(kept)
    after = judge.before if is_float else judge.score(form, kept)
    measured = [Measurement(runtime=usual, psnr_y_before=judge.before.psnr_y, psnr_y_after=after.psnr_y)]
    measured += [] if is_float else [_measured(pictures.meter(name), model, result) for name in others]
    report = Int8Report(
        layers=_layers(model, alone, kept),
        measured=tuple(measured),
        max_drop_db=max_drop_db,
        colour_error_levels=max(colour_errors(judge.before, after).values()),
        ranges=form.ranges,
        unusual_db=likeness_db(judge.before, after),
        photographs=tuple(photographs),
        validation=tuple(shown),
    )
    return Int8Result(model=result, report=report)


class _Shown:
    """The pictures on which a network is measured, at sizes that it can take."""

    def __init__(self, model: ir.Model, info: ModelInfo, photographs: Pictures) -> None:
        self._info = info
        self._multiple = images.multiple_of(model)
        self._photographs = photographs

    def meter(self, runtime: str) -> Meter:
        """On whole photographs."""
        photographs = images.cropped(self._photographs, self._multiple * self._info.scale)
        unusual = {**images.lines(), **extremes()}
        return Meter(self._info, photographs, unusual, multiple=self._multiple, runtime=runtime)

    def meter_of_middles(self, runtime: str) -> Meter:
        """On the middles of some photographs, which takes less time."""
        step = -(-len(self._photographs) // ALONE_PHOTOGRAPHS)
        some = dict(list(self._photographs.items())[::step])
        photographs = images.cropped(some, self._multiple * self._info.scale, ALONE_SIDE * self._info.scale)
        return Meter(self._info, photographs, {}, multiple=self._multiple, runtime=runtime)


class _Judge:
    """Says whether a network in int8 is good enough; each is measured once."""

    def __init__(self, meter: Meter, model: ir.Model, max_drop_db: float, say: Say) -> None:
        self._meter, self._max_drop_db, self._say = meter, max_drop_db, say
        self._scores: dict[tuple[Ranges | None, tuple[str, ...]], Score] = {}
        say(f"float32 in {meter.runtime}")
        self.before = meter.score(model, "fp32")

    def accepts(self, form: _Form, kept: Sequence[str] = (), *, share: float = 1.0) -> bool:
        """Whether PSNR-Y, by a share of the budget, and flat colours hold with the layers `kept` in float."""
        after = self.score(form, kept)
        return drop_db(self.before, after) <= share * self._max_drop_db and colours_hold(self.before, after)

    def score(self, form: _Form, kept: Sequence[str] = ()) -> Score:
        """The network with the layers `kept` in float."""
        key = form.ranges, tuple(kept)
        if key not in self._scores:
            after = self._scores[key] = self._meter.score(form.quantized(kept), "int8")
            count = len(form.plan.layers) - len(kept)
            room = "" if form.ranges is None else f", room for {form.ranges}"
            error = max(colour_errors(self.before, after).values())
            drop = drop_db(self.before, after)
            self._say(
                f"{count} layers in int8{room}: a drop of {drop:.3f} dB, flat colours change by {error:.1f} of 255"
            )
        return self._scores[key]


def _check(model: ir.Model, info: ModelInfo, photographs: Pictures, max_drop_db: float) -> None:
    if not max_drop_db >= 0:
        raise UsageError(f"the budget is {max_drop_db:g} dB; expected 0 or more")
    if not photographs:
        raise UsageError("no photographs to measure PSNR on; expected at least one")
    if info.precision != "fp32" or info.io != "float":
        raise UsageError(
            f"{info.name} is of precision {info.precision} and io {info.io}; int8 is made from fp32 and io float"
        )
    found = next((node.op_type for node in model.graph if node.op_type in QUANTIZED), None)
    if found is not None:
        raise UsageError(f"the graph has {found}: it is int8 already; expected a float32 graph")


def _calibrated(model: ir.Model, info: ModelInfo, photographs: Pictures, say: Say) -> Iterator[_Form]:
    """The widest ranges first."""
    say(f"calibrating on {len(photographs)} photographs")
    observed = observe_all(model, info, photographs)
    for ranges in RANGES:
        calibration = calibration_for(model, observed, ranges)
        yield _Form(plan=calibration.plan, quantized=calibration.quantized, ranges=ranges)


def _given(model: ir.Model, plan: QuantPlan) -> _Form:
    """As it was trained for: nothing is corrected."""
    return _Form(plan=plan, quantized=lambda kept: write_qdq(model, plan.without(kept)), ranges=None)


def _widest(forms: Iterator[_Form], judge: _Judge) -> _Form:
    """The first form that is good enough, with something to spare, with all its layers in int8; else the last."""
    form = next(forms)
    while not judge.accepts(form, share=ROOM_SHARE) and (narrower := next(forms, None)) is not None:
        form = narrower
    return form


def _drops_alone(meter: Meter, model: ir.Model, form: _Form, say: Say) -> dict[str, float]:
    """By how much PSNR-Y falls when one layer is int8, dB, by its name."""
    before, drops = meter.score(model, "fp32"), dict[str, float]()
    for count, layer in enumerate(form.plan.layers, 1):
        drop = drops[layer.name] = drop_db(before, meter.score(form.alone(layer.name), "int8"))
        say(f"layer {count} of {len(form.plan.layers)}, {layer.name}, alone in int8: a drop of {drop:.4f} dB")
    return drops


def _measured(meter: Meter, model: ir.Model, quantized: ir.Model) -> Measurement:
    before, after = meter.score(model, "fp32"), meter.score(quantized, "int8")
    return Measurement(runtime=meter.runtime, psnr_y_before=before.psnr_y, psnr_y_after=after.psnr_y)


def _layers(model: ir.Model, alone: Mapping[str, float], kept: Collection[str]) -> tuple[Int8Layer, ...]:
    layers: list[Int8Layer] = []
    for layer in convolutions(model.graph):
        drop = alone.get(layer.name)
        if drop is None:
            reason = layer.why_float or "it is not in the plan"
            layers.append(Int8Layer(name=layer.name, precision="fp32", reason=reason))
        elif layer.name in kept:
            reason = f"sensitive: costs {drop:.4f} dB alone, and too much with the other layers"
            layers.append(Int8Layer(name=layer.name, precision="fp32", sensitivity_db=drop, reason=reason))
        else:
            layers.append(Int8Layer(name=layer.name, precision="int8", sensitivity_db=drop))
    return tuple(layers)
