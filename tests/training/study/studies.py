"""A small study for tests, and results with chosen numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from repsr_deploy.metrics.quality import Quality
from repsr_train.study.catalogue import Claim, Study, Variant, Weights
from repsr_train.study.results import RunResult, StudyResult
from repsr_train.study.scores import Score

SMALL = Study(
    name="small",
    title="Two small networks",
    scale=2,
    variants=(
        Variant(name="plain", label="Plain", recipe="plain-m1c4-x2"),
        Variant(name="never", label="RepSR, never", recipe="repsr-m1c4-x2", settings=("population_from=1",)),
    ),
    claims=(
        Claim(text="RepSR is better", better="never", worse="plain", measure="psnr_y"),
        Claim(text="RepSR is flatter", better="never", worse="plain", measure="flat_error", weights="last"),
    ),
    settings=("batch=2", "patch=8", "lr=1e-3", "ema_decay=0.5"),
    steps=4,
    measures=("psnr_y", "flat_error"),
    weights=("averaged", "last"),
    picture=("never", "plain"),
)

SETS = ("A", "B")


def result_of(psnr: Mapping[str, Sequence[float]], flat: Mapping[str, Sequence[float]], out: Path) -> StudyResult:
    """A result of `SMALL` on two test sets: variant -> a value for each seed; set B has no flat regions."""

    def score(psnr_y: float, flat_error: float, condition: str) -> Score:
        quality = Quality(psnr_y=psnr_y + SETS.index(condition), ssim_y=0.9, psnr_rgb=psnr_y - 2)
        return Score(quality, {"one.png": quality}, flat_error if condition == "A" else None)

    kinds: tuple[Weights, ...] = ("averaged", "last")
    runs = tuple(
        RunResult(
            variant=variant,
            seed=seed,
            recipe={"batch": 2, "patch": 8},
            photographs="abc",
            parameters_trained=1234 * (1 + index),
            parameters_folded=1234,
            seconds=10.0 * (1 + index),
            loss=0.01,
            skipped=index,
            validation=((2, value - 1), (4, value)),
            scores={kind: {name: score(value, flat[variant][seed], name) for name in SETS} for kind in kinds},
        )
        for index, variant in enumerate(psnr)
        for seed, value in enumerate(psnr[variant])
    )
    return StudyResult(
        study=SMALL,
        command=f"repsr-train study small --out {out}",
        machine={"threads": 1, "processor": "a processor"},
        versions={},
        steps=4,
        seeds=tuple(range(len(next(iter(psnr.values()))))),
        settings={"batch": "2"},
        pictures=dict.fromkeys(SETS, 1),
        bicubic={name: score(30.0, 0.05, name) for name in SETS},
        runs=runs,
    )
