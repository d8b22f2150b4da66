"""What came out of a study: the scores of every run, and what they say about its claims."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repsr_deploy.checkpoint import load_checkpoint
from repsr_deploy.folding.fold import folded
from repsr_deploy.nets.network import num_parameters
from repsr_train.folder import CHECKPOINT
from repsr_train.study.catalogue import Claim, Measure, Study, Variant, Weights
from repsr_train.study.claims import Comparison, Verdict, compare, overall
from repsr_train.study.runs import Run
from repsr_train.study.scores import Conditions, Score, score, trained_network, upscale_with
from repsr_train.watch.metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One trained network."""

    variant: str
    seed: int
    recipe: dict[str, Any]
    """Every setting, as resolved."""
    photographs: str
    """Fingerprint of the training photographs."""
    parameters_trained: int
    parameters_folded: int
    seconds: float
    """Spent on training steps, without validating and saving."""
    loss: float | None
    """Mean over the last steps."""
    skipped: int
    """Steps that the guard skipped."""
    validation: tuple[tuple[int, float], ...]
    """Step, PSNR-Y in dB, of the averaged weights."""
    scores: dict[Weights, dict[str, Score]]
    """By weights, then by condition."""


@dataclass(frozen=True)
class Judgement:
    """A claim, judged in every condition."""

    claim: Claim
    comparisons: dict[str, Comparison]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """Everything that the report, the plot and the JSON file show."""

    study: Study
    command: str
    machine: dict[str, Any]
    versions: dict[str, str]
    steps: int
    seeds: tuple[int, ...]
    settings: dict[str, str]
    """What all variants changed of their recipes."""
    pictures: dict[str, int]
    """Condition -> number of pictures."""
    bicubic: dict[str, Score]
    runs: tuple[RunResult, ...]

    def of(self, variant: Variant | str) -> list[RunResult]:
        """The runs of a variant, by seed."""
        name = variant if isinstance(variant, str) else variant.name
        return [run for run in self.runs if run.variant == name]

    def values(self, variant: Variant | str, weights: Weights, condition: str, measure: Measure) -> list[float]:
        """One measure of a variant, for each seed; empty for flat regions where there are none."""
        values = [run.scores[weights][condition].value(measure) for run in self.of(variant)]
        return [value for value in values if value is not None]

    def seconds(self, variant: Variant | str) -> float:
        """Mean training time of a variant."""
        return statistics.fmean(run.seconds for run in self.of(variant))

    @property
    def judgements(self) -> list[Judgement]:
        """The claims of the study."""
        return [self._judged(claim) for claim in self.study.claims]

    def _judged(self, claim: Claim) -> Judgement:
        sign = -1 if claim.measure == "flat_error" else 1
        comparisons: dict[str, Comparison] = {}
        for condition in self.pictures:
            better, worse = (
                [sign * value for value in self.values(variant, claim.weights, condition, claim.measure)]
                for variant in (claim.better, claim.worse)
            )
            if better and worse:
                comparisons[condition] = compare(better, worse)
        return Judgement(claim, comparisons, overall([comparison.verdict for comparison in comparisons.values()]))

    def to_json(self) -> str:
        """Every number, as indented JSON."""
        content = {key: value for key, value in vars(self).items() if key not in ("study", "runs", "bicubic")}
        content |= {
            "study": asdict(self.study),
            "judgements": [asdict(judgement) for judgement in self.judgements],
            "bicubic": {condition: asdict(score) for condition, score in self.bicubic.items()},
            "runs": [asdict(run) for run in self.runs],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def measure_run(run: Run, weights: Sequence[Weights], conditions: Conditions) -> RunResult:
    """Measure a finished run.

    Raises:
        ModelFileError: its files cannot be read.
    """
    net, info = load_checkpoint(run.folder / CHECKPOINT)
    rows = read_metrics(run.folder / METRICS)
    entry = info.history[-1]
    scores: dict[Weights, dict[str, Score]] = {}
    for which in weights:
        enlarge = upscale_with(trained_network(run.folder, which))
        scores[which] = {condition: score(enlarge, pictures) for condition, pictures in conditions.items()}
    return RunResult(
        variant=run.variant.name,
        seed=run.seed,
        recipe=entry["recipe"],
        photographs=entry["data_fingerprint"],
        parameters_trained=num_parameters(net),
        parameters_folded=num_parameters(folded(net)),
        seconds=training_seconds(rows, entry["recipe"]["batch"]),
        loss=entry["loss"],
        skipped=sum(len(row.get("skipped", ())) for row in rows),
        validation=tuple((row["step"], row["psnr_y"]) for row in rows if "psnr_y" in row),
        scores=scores,
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows that a finished run reported."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def training_seconds(rows: Sequence[dict[str, Any]], batch: int) -> float:
    """Time that the steps took, by the speeds that a run reported: pauses and interruptions are not in them."""
    steps = [0, *(row["step"] for row in rows)]
    speeds = [row["images_per_s"] for row in rows]
    return sum(batch * (now - before) / speed for before, now, speed in zip(steps, steps[1:], speeds, strict=False))
