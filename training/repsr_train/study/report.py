"""A study as a page of Markdown: tables, protocol, and what became of each claim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from repsr_deploy.metrics.evaluate import PROTOCOL
from repsr_train.study.catalogue import Claim, Measure, Weights
from repsr_train.study.claims import RULE, Comparison, spread
from repsr_train.study.flat import FLAT, SIDE
from repsr_train.study.results import Judgement, StudyResult

NAMES: dict[Measure, tuple[str, str, int]] = {
    "psnr_y": ("PSNR-Y", "dB", 3),
    "psnr_rgb": ("PSNR of RGB", "dB", 3),
    "flat_error": ("Error of flat regions", "levels of 255", 4),
}
"""What a measure is called, its unit, and how many decimals are shown."""
TITLES: dict[Weights, str] = {
    "averaged": "averaged weights, BatchNorm's statistics measured for them (what repsr-train ships)",
    "last": "weights of the last step, BatchNorm's running statistics of training (what ordinary training ships)",
}
FLAT_PROTOCOL = (
    f" Error of flat regions: of all {SIDE}x{SIDE} tiles in which every colour of the reference deviates by less than "
    f"{FLAT:g} levels, the root mean square of the error of the tile's mean colour."
)
DEGRADED_PROTOCOL = (
    " Degraded LR pictures: Gaussian blur of sigma 2 on 21x21 before the reduction, noise of sigma 20 after it, JPEG "
    "of quality 50 last, and their combinations, as in Reflash Dropout's test."
)


def markdown(result: StudyResult, figures: Sequence[str]) -> str:
    """The report; `figures` are file names beside it."""
    study = result.study
    parts = [f"# {study.title}", f"`{result.command}`"]
    for weights in study.weights:
        for measure in study.measures:
            name, unit, _ = NAMES[measure]
            parts += [f"**{name}, {unit}**; {TITLES[weights]}", _table(result, weights, measure)]
    parts += [_costs(result), _protocol(result)]
    parts += ["## Claims", RULE, "\n".join(_claim_line(judgement) for judgement in result.judgements)]
    parts += [f"![{figure}]({figure})" for figure in figures]
    return "\n\n".join(parts) + "\n"


def _table(result: StudyResult, weights: Weights, measure: Measure) -> str:
    """Mean and spread of each variant in each condition."""
    conditions, digits = list(result.pictures), NAMES[measure][2]
    bicubic = [result.bicubic[condition].value(measure) for condition in conditions]
    rows = [["bicubic", *(_cell([] if value is None else [value], digits) for value in bicubic)]]
    for variant in result.study.variants:
        cells = [_cell(result.values(variant, weights, condition, measure), digits) for condition in conditions]
        rows.append([variant.label, *cells])
    return _markdown_table(["variant", *conditions], rows)


def _costs(result: StudyResult) -> str:
    """Sizes and times of each variant."""
    rows: list[list[str]] = []
    first_s = result.seconds(result.study.variants[0])
    for variant in result.study.variants:
        runs = result.of(variant)
        ratios = [run.seconds / first_s for run in runs]
        sizes = (f"{runs[0].parameters_trained:,}", f"{runs[0].parameters_folded:,}")
        skipped = str(sum(run.skipped for run in runs))
        rows.append([variant.label, *sizes, _cell(ratios, 2), skipped])
    heads = ["variant", "parameters trained", "folded", "training time, ratio", "steps skipped for NaN or a spike"]
    return _markdown_table(heads, rows)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: Sequence[float], digits: int) -> str:
    """Mean and spread over the seeds."""
    if not values:
        return "-"
    deviation = spread(values)
    return f"{statistics.fmean(values):.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _protocol(result: StudyResult) -> str:
    study, recipe, machine = result.study, result.runs[0].recipe, result.machine
    changes = ", ".join(f"{key}={value}" for key, value in result.settings.items())
    counts = ", ".join(f"{condition} {count}" for condition, count in result.pictures.items())
    return (
        f"Every variant is trained for {result.steps:,} steps of {recipe['batch']} crops of {recipe['patch']}x"
        f"{recipe['patch']} LR pixels with each of {len(result.seeds)} seed(s) ({', '.join(map(str, result.seeds))}), "
        f"on the same photographs (fingerprint {result.runs[0].photographs}), with {changes} and else as its recipe "
        f"says but for what it is named after; ± is the standard deviation over the seeds; training time is that of "
        f"the steps alone, 1 being the {result.seconds(study.variants[0]):.0f} s of {study.variants[0].label} on "
        f"{machine['threads']} thread(s) of {machine['processor']}. "
        f"Tested on {counts} pictures: {PROTOCOL}."
        + (DEGRADED_PROTOCOL if study.degraded else "")
        + (FLAT_PROTOCOL if "flat_error" in study.measures else "")
    )


def _claim_line(judgement: Judgement) -> str:
    """Such as `- **RepSR beats ECBSR: holds.** Set5: +0.053 dB, 2 standard errors 0.020, holds; ...`."""
    details = "; ".join(
        f"{condition}: {_difference(judgement.claim, comparison)}"
        for condition, comparison in judgement.comparisons.items()
    )
    return f"- **{judgement.claim.text}: {judgement.verdict}.** {details or 'There are no flat regions.'}"


def _difference(claim: Claim, comparison: Comparison) -> str:
    """Of errors, less is better, and so is a negative difference."""
    sign = -1 if claim.measure == "flat_error" else 1
    error = comparison.standard_error
    _, unit, digits = NAMES[claim.measure]
    noise = "one seed" if error is None else f"2 standard errors {2 * error:.{digits}f}"
    return f"{sign * comparison.difference:+.{digits}f} {unit}, {noise}, {comparison.verdict}"
