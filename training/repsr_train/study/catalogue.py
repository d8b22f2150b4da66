"""The studies: what is compared, at which budget, and which claims are judged.

The budgets suit one CPU core; --steps and --set change them. Learning rates are those at which the baseline of a study
trains well in so few steps, the same for all of its variants unless the rate is what is studied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repsr_deploy.errors import UsageError

Weights = Literal["averaged", "last"]
"""`averaged`: what training ships, the moving average with statistics measured for it. `last`: the weights after the
last step with BatchNorm's running statistics, which is what ordinary training would ship."""
Measure = Literal["psnr_y", "psnr_rgb", "flat_error"]
"""PSNR in dB, or the error of flat regions in levels of 255 (`flat.py`), of which less is better."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way of training."""

    name: str
    """Names folders."""
    label: str
    recipe: str
    settings: tuple[str, ...] = ()
    """What it changes of the recipe, as --set takes it."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The variant `better` has a higher PSNR, or a lower error, than `worse`."""

    text: str
    better: str
    worse: str
    measure: Measure
    weights: Weights = "averaged"


@dataclass(frozen=True, kw_only=True)
class Study:
    """Variants trained with the same photographs, seeds and number of steps."""

    name: str
    title: str
    scale: int
    variants: tuple[Variant, ...]
    """The first is what training times are compared with."""
    claims: tuple[Claim, ...]
    settings: tuple[str, ...]
    """What all variants change of their recipes."""
    steps: int
    measures: tuple[Measure, ...] = ("psnr_y",)
    """What the tables show; the plot shows the first."""
    weights: tuple[Weights, ...] = ("averaged",)
    """Which weights of each run are measured."""
    degraded: bool = False
    """Whether to test on the eight degradations instead of bicubic LR images."""
    picture: tuple[str, str] | None = None
    """Two variants whose errors in flat regions are shown, the worse one first."""


def study_named(name: str) -> Study:
    """A study of the catalogue.

    Raises:
        UsageError: no such study.
    """
    if name not in STUDIES:
        raise UsageError(f"unknown study {name!r}; expected one of {', '.join(STUDIES)}")
    return STUDIES[name]


# the recipes' 0.999 forgets too slowly for short runs: after 1,000 steps a third of it is what training began with
_AVERAGE = "ema_decay=0.99"

BLOCKS = Study(
    name="blocks",
    title="RepSR's block, its BatchNorm and the switch of statistics",
    scale=2,
    variants=(
        Variant(name="plain", label="Plain", recipe="plain-m4c16-x2"),
        Variant(name="ecbsr", label="ECBSR", recipe="ecbsr-m4c16-x2"),
        Variant(name="repsr-none", label="RepSR, no BN", recipe="repsr-m4c16-x2", settings=("network.norm=none",)),
        Variant(
            name="repsr-never", label="RepSR, BN never frozen", recipe="repsr-m4c16-x2", settings=("population_from=1",)
        ),
        Variant(
            name="repsr-switch",
            label="RepSR, switch at half",
            recipe="repsr-m4c16-x2",
            settings=("population_from=0.5",),
        ),
    ),
    claims=(
        Claim(
            text="BN helps: RepSR with the switch beats RepSR without BN",
            better="repsr-switch",
            worse="repsr-none",
            measure="psnr_y",
        ),
        Claim(
            text="The switch helps: it beats BN that is never frozen, with the running statistics of training",
            better="repsr-switch",
            worse="repsr-never",
            measure="psnr_y",
            weights="last",
        ),
        Claim(
            text="The switch helps even where the statistics of BN that is never frozen are measured anew",
            better="repsr-switch",
            worse="repsr-never",
            measure="psnr_y",
        ),
        Claim(
            text="The switch removes artifacts: flat regions are less off, with the running statistics of training",
            better="repsr-switch",
            worse="repsr-never",
            measure="flat_error",
            weights="last",
        ),
        Claim(
            text="The switch removes artifacts even where the statistics are measured anew",
            better="repsr-switch",
            worse="repsr-never",
            measure="flat_error",
        ),
        Claim(
            text="RepSR beats ECBSR: RepSR with the switch has the higher PSNR",
            better="repsr-switch",
            worse="ecbsr",
            measure="psnr_y",
        ),
    ),
    settings=("batch=16", "patch=24", "lr=2e-3", _AVERAGE),
    steps=3000,
    measures=("psnr_y", "flat_error"),
    weights=("averaged", "last"),
    picture=("repsr-never", "repsr-switch"),
)

WEIGHT_NORM = Study(
    name="weight-norm",
    title="Weight norm in WDSR-A at the paper's learning rate and at a tenth of it",
    scale=2,
    variants=tuple(
        Variant(
            name=f"{'with' if norm == 'true' else 'without'}-{rate}",
            label=f"{'weight norm' if norm == 'true' else 'no weight norm'}, lr {rate}",
            recipe="wdsr-a-m4c16-x2",
            settings=(f"network.weight_norm={norm}", f"lr={rate}"),
        )
        for rate in ("1e-3", "1e-4")
        for norm in ("true", "false")
    ),
    claims=(
        Claim(
            text="Weight norm helps at the paper's rate of 1e-3",
            better="with-1e-3",
            worse="without-1e-3",
            measure="psnr_y",
        ),
        Claim(
            text="Weight norm makes the high rate pay: 1e-3 beats 1e-4 with it",
            better="with-1e-3",
            worse="with-1e-4",
            measure="psnr_y",
        ),
        Claim(
            text="Networks without weight norm do not bear the high rate: 1e-4 beats 1e-3 without it",
            better="without-1e-4",
            worse="without-1e-3",
            measure="psnr_y",
        ),
    ),
    # the guard would hide what the claim is about: it skips NaN and infinity alone, and stops no run of 1,000 steps
    settings=("batch=16", "patch=24", _AVERAGE, "spike_factor=0", "spike_patience=1000"),
    steps=1000,
)

ADADM = Study(
    name="adadm",
    title="AdaDM in a small EDSR",
    scale=2,
    variants=(
        Variant(name="none", label="EDSR, no BN", recipe="edsr-m4c16-x2"),
        Variant(name="bn", label="EDSR + BN", recipe="edsr-bn-m4c16-x2"),
        Variant(name="adadm", label="EDSR + BN + AdaDM", recipe="edsr-adadm-m4c16-x2"),
    ),
    claims=(
        Claim(text="BN alone harms: EDSR without BN beats EDSR + BN", better="none", worse="bn", measure="psnr_y"),
        Claim(text="AdaDM repairs BN: EDSR + BN + AdaDM beats EDSR + BN", better="adadm", worse="bn", measure="psnr_y"),
        Claim(text="BN with AdaDM beats EDSR without BN", better="adadm", worse="none", measure="psnr_y"),
    ),
    settings=("batch=16", "patch=24", "lr=1e-3", _AVERAGE, "schedule=cosine", "milestones="),
    steps=1800,
)

DROPOUT = Study(
    name="dropout",
    title="Dropout before the last convolution of a small SRResNet, on eight degradations",
    scale=4,
    variants=(
        Variant(name="none", label="no dropout", recipe="srresnet-m4c16-x4"),
        *(
            Variant(
                name=f"p{share}",
                label=f"dropout 0.{share}",
                recipe="srresnet-dropout-m4c16-x4",
                settings=(f"network.dropout=0.{share}",),
            )
            for share in (2, 7)
        ),
    ),
    claims=(
        Claim(text="Dropout of 0.7, the paper's, helps", better="p7", worse="none", measure="psnr_rgb"),
        Claim(text="Dropout of 0.2 helps a small network", better="p2", worse="none", measure="psnr_rgb"),
    ),
    # PSNR is measured against pictures that are not sharpened
    settings=("batch=4", "patch=16", "lr=2e-3", _AVERAGE, "usm=false"),
    steps=1000,
    measures=("psnr_rgb", "psnr_y"),
    degraded=True,
)

STUDIES: dict[str, Study] = {study.name: study for study in (BLOCKS, WEIGHT_NORM, ADADM, DROPOUT)}
"""Every study by its name."""
