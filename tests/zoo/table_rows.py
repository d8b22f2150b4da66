"""One row of the table of folds: a graph as it is and folded, counted, proved and timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime

from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side
from repsr_deploy.export.graph import GraphReport, export_graph
from repsr_deploy.folding.graph.compare import OutputProof
from repsr_deploy.folding.graph.cost import Totals
from repsr_deploy.folding.graph.fold import Site, fold_graph
from repsr_deploy.folding.graph.read import read_graph

SIDES = ((180, 320), (90, 160), (48, 80))
"""H x W of the images for timing, largest first."""
LARGEST_RUN_MACS = 15e9
"""Multiply-adds of one run, about half a second, above which a smaller image is taken."""
MIN_ROUNDS = 9
"""Of timing."""
UNCHANGED = 1.05
"""Speed ratio below which a row is explained."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What folding did to one network."""

    group: str
    name: str
    before: Totals
    after: Totals
    operators_before: Mapping[str, int]
    operators_after: Mapping[str, int]
    runtime_nodes_before: int
    """Nodes that ONNX Runtime runs, after the merging that it does by itself, its changes of memory layout included."""
    runtime_nodes_after: int
    error_interior: float
    """Largest error of the folded graph in float64, as a fraction of the output's range."""
    error_border: float
    error_stored: float
    """Of the model as it is stored, in ONNX Runtime in float32, against float64 before folding."""
    read_s: float
    fold_s: float
    prove_s: float
    """All that exporting takes beside reading and folding."""
    kept: Mapping[str, int]
    """Rule and reason of what was kept -> how many sites."""
    sides: tuple[int, int]
    """H x W of the image for timing."""
    times_s: Mapping[str, tuple[float, ...]]
    speed_ratio: float
    noise_ratio: float
    """What the same measurement gives for two sessions of the graph before: 1, but for noise."""

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing was folded."""
        return self.operators_before == self.operators_after and self.before.parameters == self.after.parameters

    @property
    def slow_reason(self) -> str:
        """Why it is hardly faster, from what was counted; empty where it is faster."""
        if self.speed_ratio >= UNCHANGED:
            return ""
        if self.is_unchanged:
            return "nothing was folded: the same nodes as before"
        gone = Counter(self.operators_before) - Counter(self.operators_after)
        new = Counter(self.operators_after) - Counter(self.operators_before)
        changes = [f"{_counted(counts)} {verb}" for counts, verb in ((gone, "gone"), (new, "new")) if counts]
        runs = f"{self.runtime_nodes_before} nodes of the graph before, {self.runtime_nodes_after} of that after"
        return f"{_work(self)}; {', '.join(changes) or 'other weights'}; ONNX Runtime makes {runs}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "slow_reason": self.slow_reason}


def measure(name: str, group: str, source: Path, scratch: Path, seconds: float) -> Row:
    """Fold the graph at `source`, prove it, and time both for about `seconds`, each on one thread.

    Raises:
        RepsrError: as `export_graph`.
    """
    model, read_s = _timed(lambda: read_graph(source))
    _, fold_s = _timed(lambda: fold_graph(model))
    folded = scratch / "folded.onnx"
    report, export_s = _timed(lambda: export_graph(source, folded))
    before, after = (cast("Totals", totals) for totals in (report.proof.before, report.proof.after))
    sides = next((item for item in SIDES if before.macs_per_lr_pixel * np.prod(item) < LARGEST_RUN_MACS), SIDES[-1])
    timings = _timings({"before": source, "after": folded, "before again": source}, sides, seconds)
    return Row(
        group=group,
        name=name,
        before=before,
        after=after,
        operators_before=_operators(node.op_type for node in model.graph),
        operators_after=_operators(node.op_type for node in onnx.load(folded).graph.node),
        runtime_nodes_before=_runtime_nodes(source, scratch),
        runtime_nodes_after=_runtime_nodes(folded, scratch),
        error_interior=_error(report.proof.whole, max_error_border=0.0),
        error_border=_error(report.proof.whole, max_error_interior=0.0),
        error_stored=_error(report.proof.stored),
        read_s=read_s,
        fold_s=fold_s,
        prove_s=max(0.0, export_s - read_s - fold_s),
        kept=_kept(report),
        sides=sides,
        times_s={key: timing.times_s for key, timing in timings.items()},
        speed_ratio=speedup(timings, "before", "after"),
        noise_ratio=speedup(timings, "before", "before again"),
    )


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def _operators(names: Any) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _error(outputs: tuple[OutputProof, ...], **without: float) -> float:
    return max(replace(item.comparison, **without).relative_error for item in outputs)


def _kept(report: GraphReport) -> dict[str, int]:
    sites = (site for site in report.proof.sites if isinstance(site, Site) and site.outcome == "kept")
    return dict(Counter(f"{site.rule}: {site.reason}" for site in sites).most_common())


def _timings(models: Mapping[str, Path], sides: tuple[int, int], seconds: float) -> dict[str, Timing]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    x_nchw = np.random.default_rng(0).random((1, 3, *sides), np.float32)
    runs: dict[str, Callable[[], Any]] = {}
    for name, path in models.items():
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        runs[name] = partial(session.run, None, {session.get_inputs()[0].name: x_nchw})
    return time_side_by_side(runs, seconds=seconds, min_rounds=MIN_ROUNDS)


def _runtime_nodes(path: Path, scratch: Path) -> int:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(scratch / "optimised.onnx")
    options.log_severity_level = 3  # it warns that the file would suit this machine alone
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return len(onnx.load(scratch / "optimised.onnx").graph.node)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _work(row: Row) -> str:
    before, after = row.before.macs_per_lr_pixel, row.after.macs_per_lr_pixel
    return "the same multiply-adds" if before == after else f"{after / before:.1%} of the multiply-adds"
