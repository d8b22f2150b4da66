"""The proof of a folded graph: both graphs run on the same images in float64, and the result as it is stored."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.errors import ProofError
from repsr_deploy.folding.graph.compare_probes import Images, Probes, Range, Sides, border_of, graph_probes
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.proof import Comparison, compare
from repsr_deploy.tolerances import TOLERANCES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OWN_ROUNDING = 2.0
"""How far the stored result may be off, in errors that float32 makes in the graph before folding."""
TINY = -16
"""Decade below which errors are rounding of float64 and counted together."""


@dataclass(frozen=True, kw_only=True)
class OutputProof:
    """How one output of a graph differs, over all probes."""

    output: str
    comparison: Comparison
    histogram: dict[str, int]
    """Values by the decade of their error, a fraction of the output's range."""
    border_allowed: bool = False
    """Whether the border may differ, so that the interior alone is judged."""

    @property
    def relative_error(self) -> float:
        """Largest error that is judged, as a fraction of the range: the smallest tolerance that would pass."""
        whole = self.comparison
        return (replace(whole, max_error_border=0.0) if self.border_allowed else whole).relative_error

    @property
    def border_change(self) -> float:
        """Largest error in the border, as a fraction of the range."""
        return replace(self.comparison, max_error_interior=0.0).relative_error

    @property
    def passed(self) -> bool:
        """Whether what is judged is within the tolerance."""
        return self.relative_error <= self.comparison.tolerance


@dataclass(frozen=True, kw_only=True)
class GraphProof:
    """What folding a graph changed: nothing in the outputs (errors), much in the cost."""

    network: str
    sites: tuple[DataclassInstance, ...]
    whole: tuple[OutputProof, ...]
    """Both graphs in float64: the algebra is right."""
    stored: tuple[OutputProof, ...]
    """The folded graph as it is stored, in ONNX Runtime, against float64 before: the rounding is harmless."""
    before: DataclassInstance
    after: DataclassInstance
    probes: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """What the folded graph still computes though it looks foldable, with the reason."""

    @property
    def passed(self) -> bool:
        """Every output within its tolerance."""
        return all(item.passed for item in (*self.whole, *self.stored))

    @property
    def relative_error(self) -> float:
        """Of the worst output in float64: the smallest tolerance that would have passed."""
        return max(item.relative_error for item in self.whole)

    @property
    def border_change(self) -> float:
        """Of the worst output in float64: largest error in the border, as a fraction of the range."""
        return max(item.border_change for item in self.whole)

    def summary(self) -> dict[str, Any]:
        """The few values that travel inside a model's metadata."""
        return {
            "passed": self.passed,
            "relative_error_float64": self.relative_error,
            "relative_error_stored": max(item.relative_error for item in self.stored),
            "border_change": self.border_change,
            "sites": len(self.sites),
            **{f"{key}_before": value for key, value in asdict(self.before).items()},
            **{f"{key}_after": value for key, value in asdict(self.after).items()},
        }

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps({"summary": self.summary(), **asdict(self)}, indent=2) + "\n"


def histogram(errors: Tensor) -> dict[str, int]:
    """Count errors by decade, smallest first; "0" are exact values, "not finite" NaN and infinity."""
    size = errors.double().abs().flatten()
    finite = size[size.isfinite()]
    decades = finite[finite > 0].log10().floor().clamp(min=TINY - 1).to(torch.int64)
    counts = {"0": int((finite == 0).sum())}
    for decade, count in zip(*(values.tolist() for values in decades.unique(return_counts=True)), strict=True):
        counts[f"{'0' if decade < TINY else f'1e{decade}'}..1e{decade + 1}"] = count
    counts["not finite"] = size.numel() - finite.numel()
    return {decade: count for decade, count in counts.items() if count}


def histogram_line(counts: Mapping[str, int]) -> str:
    """A histogram in a line: `0: 12, 1e-12..1e-11: 1,234 values`."""
    return ", ".join(f"{decade}: {count:,}" for decade, count in counts.items()) + " values"


def error_histogram(pairs: Sequence[tuple[Tensor, Tensor]], unit: float) -> dict[str, int]:
    """Errors of all (reference, candidate) pairs, as fractions of `unit`; absolute where it is 0."""
    errors = torch.cat([(candidate.double() - reference.double()).flatten() for reference, candidate in pairs])
    return histogram(errors / unit if unit > 0 else errors)


def prove_graphs(
    before: ir.Model,
    after: ir.Model,
    *,
    halo: int | None,
    costs: tuple[DataclassInstance, DataclassInstance],
    sites: Sequence[DataclassInstance] = (),
    kept: Sequence[str] = (),
    photographs: Mapping[str, Tensor] | None = None,
    border_allowed: bool = False,
    value_range: Range = (0.0, 1.0),
    stored: ir.Model | Path | None = None,
) -> GraphProof:
    """Run two graphs with the same inputs and outputs on the same images. No argument is modified.

    Args:
        halo: receptive-field radius, LR pixels, of the border that is judged apart; None where it is unknown.
        costs: of `before` and `after`.
        photographs: further probes for the first input, 1 x C x H x W float64 in `value_range`.
        border_allowed: the border may differ; it is reported.
        stored: `after` with the weights as they will be stored, or the file that holds it; by default `after` itself.
            Weights of `after` may be float64, which no file of a float32 network can hold, so that the algebra is
            judged apart from the rounding.

    Raises:
        FoldError: a graph cannot be evaluated; the node is named.
        ProofError: an output is outside its tolerance, the graphs have other inputs or outputs, or ONNX Runtime cannot
            run the folded one.
    """
    _check_same(before, after)
    border = border_of(halo, border_allowed=border_allowed)
    probes, expected = graph_probes(before, border, value_range, photographs or {})
    finite = [name for name, outputs in expected.items() if all(bool(y.isfinite().all()) for y in outputs.values())]
    if not finite:
        raise ProofError(f"{before.graph.name}: the network itself gives NaN or infinity on every probe image")
    exact = {name: evaluate(after, probes[name]) for name in finite}
    judge = _Judge({name: probes[name] for name in finite}, expected, border, border_allowed)
    with tempfile.TemporaryDirectory() as folder:
        path = stored if isinstance(stored, Path) else _save(stored or after, Path(folder) / "after.onnx")
        rounded = judge.run(path)
        tolerance = _store_tolerance(after)
        proofs = judge.outputs(rounded, tolerance)
        if not all(proof.passed for proof in proofs):
            # deep networks round more than the table expects: they may, as much as they did before
            own = judge.outputs(judge.run(_save(before, Path(folder) / "before.onnx")), tolerance)
            proofs = tuple(_allow(proof, rounding) for proof, rounding in zip(proofs, own, strict=True))
    proof = GraphProof(
        network=before.graph.name or "network",
        sites=tuple(sites),
        whole=judge.outputs(exact, TOLERANCES["fold"]),
        stored=proofs,
        before=costs[0],
        after=costs[1],
        probes=tuple(
            name if name in finite else f"{name} (not compared: the network itself gives NaN or infinity)"
            for name in probes
        ),
        kept=tuple(kept),
    )
    if not proof.passed:
        raise ProofError(_failure(proof))
    return proof


@dataclass(frozen=True)
class _Judge:
    """Compares what a candidate gives on the probes with what was expected."""

    probes: Probes
    expected: Mapping[str, Images]
    border: int
    border_allowed: bool

    def run(self, path: Path) -> dict[str, Images]:
        """A stored model in ONNX Runtime, in the types of its file."""
        return _run_file(path, self.probes)

    def outputs(self, actual: Mapping[str, Images], tolerance: float) -> tuple[OutputProof, ...]:
        """A verdict for each output."""
        names = next(iter(self.expected.values()))
        return tuple(self._output(name, actual, tolerance) for name in names)

    def _output(self, output: str, actual: Mapping[str, Images], tolerance: float) -> OutputProof:
        pairs: list[tuple[Tensor, Tensor]] = []
        borders: list[int] = []
        for probe, images in self.probes.items():
            reference, candidate = self.expected[probe][output], actual[probe][output]
            if reference.shape != candidate.shape:
                raise ProofError(
                    f"output {output!r} is {tuple(candidate.shape)} after folding and {tuple(reference.shape)} before, "
                    f"on probe {probe}"
                )
            sides = next(iter(images.values())).shape[-2:]
            borders.append(_output_border(reference, (sides[0], sides[1]), self.border))
            pairs.append((_planes(reference), _planes(candidate)))
        comparison = compare(pairs, border=min(borders), tolerance=tolerance)
        return OutputProof(
            output=output,
            comparison=comparison,
            histogram=error_histogram(pairs, comparison.range),
            border_allowed=self.border_allowed,
        )


def _planes(values: Tensor) -> Tensor:
    """Images as they are; other tensors as one row."""
    return values.double() if values.ndim == 4 else values.double().reshape(1, 1, 1, -1)


def _output_border(output: Tensor, sides: Sides, border: int) -> int:
    """Border in output pixels, less where it would leave no interior: then more is judged as interior, not less."""
    if output.ndim != 4:
        return 0
    scale = max(output.shape[-2] / sides[0], output.shape[-1] / sides[1])
    return min(math.ceil(border * scale), (min(output.shape[-2:]) - 1) // 2)


def _check_same(before: ir.Model, after: ir.Model) -> None:
    for what in ("inputs", "outputs"):
        names = [[value.name for value in getattr(model.graph, what)] for model in (before, after)]
        if names[0] != names[1]:
            raise ProofError(f"the graphs have different {what}: {names[0]} before and {names[1]} after folding")


def _save(model: ir.Model, path: Path) -> Path:
    ir.save(model, path, external_data=f"{path.name}.data")
    return path


NUMPY_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def _run_file(path: Path, probes: Probes) -> dict[str, Images]:
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        types = {item.name: NUMPY_TYPES[item.type] for item in session.get_inputs()}
        names = [item.name for item in session.get_outputs()]
        results: dict[str, Images] = {}
        for probe, images in probes.items():
            feeds = {name: image.numpy().astype(types[name]) for name, image in images.items()}
            arrays = session.run(names, feeds)
            results[probe] = {
                name: torch.from_numpy(np.asarray(array)) for name, array in zip(names, arrays, strict=True)
            }
        return results
    except Exception as error:  # ONNX Runtime raises classes of its own, below Exception
        cause = " ".join(str(error).split())[:300]
        raise ProofError(f"ONNX Runtime cannot run the {path.stem} model: {cause}") from error


def _store_tolerance(model: ir.Model) -> float:
    types = {value.dtype for value in model.graph.initializers.values()}
    if ir.DataType.BFLOAT16 in types:
        return TOLERANCES["store_bfloat16"]
    return TOLERANCES["store_float16" if ir.DataType.FLOAT16 in types else "store"]


def _allow(proof: OutputProof, own: OutputProof) -> OutputProof:
    """The proof of a stored output with a tolerance that its own rounding before folding sets."""
    allowed = OWN_ROUNDING * own.relative_error
    if not math.isfinite(allowed) or allowed <= proof.comparison.tolerance:
        return proof
    return replace(proof, comparison=replace(proof.comparison, tolerance=allowed))


def _failure(proof: GraphProof) -> str:
    failed = {"in float64": proof.whole, "as it is stored": proof.stored}
    stage, items = next((stage, items) for stage, items in failed.items() if not all(item.passed for item in items))
    worst = max((item for item in items if not item.passed), key=lambda item: item.relative_error)
    whole = worst.comparison
    is_border = not worst.border_allowed and worst.border_change == worst.relative_error
    return (
        f"{proof.network}: the folded graph differs {stage} at output {worst.output!r}, most in the "
        f"{'border' if is_border else 'interior'}: largest error interior {whole.max_error_interior:.3g}, border "
        f"{whole.max_error_border:.3g}, output range {whole.range:.3g}; smallest tolerance that would pass "
        f"{worst.relative_error:.3g}, allowed {whole.tolerance:.3g}; errors as fractions of the range: "
        f"{histogram_line(worst.histogram)}"
    )
