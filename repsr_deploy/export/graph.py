"""From any network to a folded, proved model: .onnx graphs, and checkpoints of other projects."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from torch import Tensor

from repsr_deploy._version import __version__
from repsr_deploy.bench.timing import time_side_by_side
from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.export.calibration import calibrate_graph
from repsr_deploy.export.checkpoint import check_outputs
from repsr_deploy.export.compact import save_compact, to_compact
from repsr_deploy.export.convert import FORMATS, PLAIN, Conversion, Say, Target, convert
from repsr_deploy.export.saving import save_graph, staged
from repsr_deploy.files import file_sha256, write_text
from repsr_deploy.folding.graph.calibrate import REASON, image_factors
from repsr_deploy.folding.graph.compare import GraphProof, prove_graphs
from repsr_deploy.folding.graph.cost import totals
from repsr_deploy.folding.graph.cut import Cut, cut
from repsr_deploy.folding.graph.emit import round_weights
from repsr_deploy.folding.graph.fold import GraphFold, Site, fold_graph
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.graph.shapes import reference_inputs, reference_shapes
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes.graph import derive_reach

Objective = Literal["macs", "nodes", "latency"]
"""`macs` and `nodes` as in `folding.graph.cost`; `latency`: what ran fastest here, of both and the network as it is."""
WORTH_SWITCHING = 0.97
"""Share of the time of the network with the fewest multiply-adds below which `latency` prefers another."""
LATENCY_SIDES = (180, 320)
"""H x W of the image on which `latency` is measured."""
COLOURS: Mapping[int, Colour] = {3: "rgb", 1: "y"}
UNNAMED = ("main_graph", "torch_jit", "torch-jit-export")
"""What PyTorch's exporters call every graph."""


@dataclass(frozen=True, kw_only=True)
class GraphReport:
    """What folding a graph wrote and what it found."""

    proof: GraphProof
    info: ModelInfo | None
    """What the model says about itself; None where it is no picture-to-picture network that can be described so."""
    notes: tuple[str, ...] = ()
    """What a user should know about the source."""
    latency_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    """Median time of each candidate, with objective `latency`."""
    calibration: Mapping[str, Any] | None = None
    conversion: Conversion | None = None
    """What it became, and how it does in the runtimes here; None for a checkpoint, and where `info` is None."""


def export_graph(
    source: Path,
    out: Path,
    *,
    proof: Path | None = None,
    probes: Mapping[str, Tensor] | None = None,
    calibration: Sequence[Path] = (),
    objective: Objective = "macs",
    allow_border: bool = False,
    target: Target = PLAIN,
    say: Say = lambda line: None,
) -> GraphReport:
    """Fold a graph, prove the fold, and write it; `out` appears only after every check has passed.

    At operators that cannot be evaluated in float64 (`folding.graph.cut`) the graph is cut: the rest is folded and
    proved with what they give as free inputs and what they read as outputs, and they are put back as they were.

    Args:
        source: an .onnx file, or a checkpoint of an architecture that spandrel knows.
        out: one of `convert.FORMATS`; or .pth or .safetensors for a Compact checkpoint, where the folded network has
            that form.
        proof: the .json file to write.
        probes: more images for the proof, name -> 1 x C x H x W in 0..1.
        calibration: HR photographs on which input-dependent factors become constants; none to keep those.
        objective: what is to be saved.
        allow_border: also fold what is exact in the interior only.
        target: precision, io and the like of a model.
        say: told what happens while it takes long.

    Raises:
        UsageError: outputs that overwrite the input or have a wrong name, nothing to calibrate, a form that this
            network cannot have.
        ModelFileError: the source is damaged or unknown.
        FoldError: the graph cannot be evaluated, or has not the form of the output.
        ProofError: the folded graph does not compute what the source computes.
        RepsrError: an output cannot be written.
    """
    check_outputs(source, out, proof, target)
    with tempfile.TemporaryDirectory() as scratch:
        whole, notes = read_source(source, Path(scratch))
        measured = None
        if calibration:
            whole, measured = calibrate_graph(whole, calibration)
        parts = cut(whole)
        before = whole if parts is None else parts.model
        fold, latency = _chosen(before, objective, Path(scratch), allow_border=allow_border)
        fold = _with_factors(fold, {} if measured is None else measured["factors"])
        fold = GraphFold(fold.model, (*fold.sites, *_stops(parts)))
        rounded = fold.model.clone()
        round_weights(rounded.graph)
        stored = save_graph(rounded, Path(scratch) / "folded.onnx")
        info = _describe(before, rounded, stored, source) if parts is None else None
        report = prove_graphs(
            before,
            fold.model,
            halo=None if info is None else info.halo,
            costs=(totals(before, reference_shapes(before)), totals(rounded, reference_shapes(rounded))),
            sites=fold.sites,
            kept=[f"{site.value or site.rule}: {site.reason}" for site in fold.sites if site.outcome == "kept"],
            photographs=probes,
            border_allowed=allow_border,
            stored=stored,
        )
        if info is not None:
            entry = {"stage": "fold", "source_sha256": file_sha256(source), "version": __version__}
            history = [*info.history, {**entry, "objective": objective, "calibration": measured}]
            info = replace(info, proof=report.summary(), history=history)
        conversion = _write(rounded if parts is None else parts.splice(rounded), info, out, target, say)
    if proof is not None:
        write_text(proof, report.to_json())
    return GraphReport(
        proof=report, info=info, notes=notes, latency_ms=latency, calibration=measured, conversion=conversion
    )


def plan_sites(source: Path) -> tuple[Site, ...]:
    """What `export_graph` would fold and keep.

    Raises:
        ModelFileError, UsageError, RepsrError: as `read_source`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model, _ = read_source(source, Path(scratch))
        parts = cut(model)
        fold = _with_factors(fold_graph(model if parts is None else parts.model), {})
        return (*fold.sites, *_stops(parts))


def _stops(parts: Cut | None) -> tuple[Site, ...]:
    """Where folding stopped."""
    lines = () if parts is None else parts.stopped
    return tuple(
        Site(value="", outcome="kept", rule="stop", reason=line, nodes_before=1, nodes_after=1) for line in lines
    )


def read_source(source: Path, scratch: Path) -> tuple[ir.Model, tuple[str, ...]]:
    """The graph of a model or of a foreign checkpoint, and what is to be said about it; `scratch` outlives the graph.

    Raises:
        ModelFileError: the source is damaged or unknown.
        UsageError: spandrel, which recognises checkpoints, is not installed.
        RepsrError: PyTorch cannot write the network as a graph.
    """
    if source.suffix.lower() == ".onnx":
        model = read_graph(source)
        if not model.graph.name or model.graph.name in UNNAMED:
            model.graph.name = source.stem
        return model, ()
    from repsr_deploy.export.zoo import load_foreign, to_onnx
    from repsr_deploy.state_file import SUFFIXES

    if source.suffix.lower() not in SUFFIXES:
        raise ModelFileError(f"{source} is of an unknown kind; expected {', '.join(('.onnx', *SUFFIXES))}")
    net = load_foreign(source)
    to_onnx(net, scratch / "source.onnx")
    model = read_graph(scratch / "source.onnx")
    model.graph.name = net.architecture
    form = {"plain": "", "branches": ", with its training branches", "stripped": ", stripped of its training branches"}
    return model, (f"{net.architecture} x{net.scale}{form[net.form]}", *net.notes)


def _chosen(
    model: ir.Model, objective: Objective, scratch: Path, *, allow_border: bool
) -> tuple[GraphFold, dict[str, float]]:
    if objective != "latency":
        return fold_graph(model, objective, allow_border=allow_border), {}
    folds = {
        "fewest multiply-adds": fold_graph(model, "macs", allow_border=allow_border),
        "fewest nodes": fold_graph(model, "nodes", allow_border=allow_border),
        "as it is": GraphFold(model, ()),
    }
    times = _latencies({name: fold.model for name, fold in folds.items()}, scratch)
    fastest, usual = min(times, key=lambda name: times[name]), next(iter(folds))
    return folds[fastest if times[fastest] < WORTH_SWITCHING * times[usual] else usual], times


def _latencies(models: Mapping[str, ir.Model], scratch: Path) -> dict[str, float]:
    """Median milliseconds of each in ONNX Runtime on this machine, measured in turns."""
    import onnxruntime

    runs: dict[str, Callable[[], Any]] = {}
    for index, (name, model) in enumerate(models.items()):
        rounded = model.clone()
        round_weights(rounded.graph)
        path = save_graph(rounded, scratch / f"candidate{index}.onnx")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        shapes = reference_inputs(model, LATENCY_SIDES) or reference_inputs(model)
        types = {str(value.name): (value.dtype or ir.DataType.FLOAT).numpy() for value in model.graph.inputs}
        feed = {key: np.random.default_rng(0).random(shape).astype(types[key]) for key, shape in shapes.items()}
        runs[name] = partial(session.run, None, feed)
    return {name: timing.median_s * 1e3 for name, timing in time_side_by_side(runs, seconds=3).items()}


def _with_factors(fold: GraphFold, constants: Mapping[str, float]) -> GraphFold:
    """Sites for factors that depend on the image, kept, and for those that became constants."""
    names = image_factors(fold.model.graph, reference_shapes(fold.model))
    sites = tuple(
        Site(value=name, outcome="kept", rule="factor", reason=REASON, nodes_before=1, nodes_after=1) for name in names
    )
    sites += tuple(
        Site(value=name, outcome="calibrated", rule=f"factor -> {number:.4g}", nodes_before=1, nodes_after=0)
        for name, number in constants.items()
    )
    return GraphFold(fold.model, (*fold.sites, *sites))


def picture_geometry(model: ir.Model) -> tuple[int, Colour] | None:
    """Scale and colour of a network from one picture to one of as many channels; None for any other graph."""
    shapes = reference_shapes(model)
    inputs, outputs = model.graph.inputs, model.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        return None
    small, large = (shapes.get(values[0].name or "", ()) for values in (inputs, outputs))
    if len(small) != 4 or len(large) != 4 or small[1] != large[1] or small[1] not in COLOURS:
        return None
    scale = large[2] // small[2]
    if scale < 1 or large[2:] != (scale * small[2], scale * small[3]):
        return None
    return scale, COLOURS[small[1]]


def _describe(before: ir.Model, after: ir.Model, stored: Path, source: Path) -> ModelInfo | None:
    known = ModelInfo.from_props(before.metadata_props)
    if known is not None and known.halo is not None:
        return replace(known, version=__version__)
    try:
        reach = derive_reach(stored, source.name)
    except ModelFileError:  # every pixel depends on the whole image, or nobody can tell on how much
        reach = None
    halo = None if reach is None else reach.halo
    if known is not None:  # it may have a halo now that its factors are constants
        return replace(known, halo=halo, version=__version__)
    geometry = picture_geometry(before)
    if geometry is None or before.graph.inputs[0].dtype != ir.DataType.FLOAT:
        return None
    return ModelInfo(
        name=after.graph.name or source.stem,
        scale=geometry[0],
        halo=halo,
        colour=geometry[1],
        width=0 if reach is None else reach.width,
        version=__version__,
    )


def _write(model: ir.Model, info: ModelInfo | None, out: Path, target: Target, say: Say) -> Conversion | None:
    if out.suffix.lower() not in FORMATS:
        save_compact(out, to_compact(model))
        return None
    if info is not None:
        return convert(model, info, out, target, say)
    if target.changes_model or target.format_of(out) != "onnx":
        raise UsageError(
            f"{model.graph.name} is no network from one picture to one, which alone can be written in another form; "
            "expected an .onnx file without further options"
        )
    with staged(out) as path:
        save_graph(model, path)
    return None
