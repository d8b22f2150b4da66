"""Rows of a heat: what the times say beside each other and beside the peaks. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repsr_deploy.bench.cpu.contestants import NATIVE, Contestant
from repsr_deploy.bench.cpu.heat import Entry
from repsr_deploy.bench.cpu.peaks import DOTS_PER_CYCLE, Instruction, instruction_of
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing, speedup
from repsr_kernels.cpu.instruction_sets import PRECISIONS


def rows_of(
    entries: Sequence[Entry],
    *,
    model: str,
    size: str,
    macs: int | None,
    instructions: Mapping[Instruction, float],
    products: Mapping[str, float],
) -> list[Row]:
    """A row for each entry.

    Args:
        entries: of one heat, all timed in the same rounds.
        macs: multiply-adds of the picture; None where they are not counted.
        instructions: multiply-adds a second of an instruction alone.
        products: those of a matrix product with all threads, by precision.
    """
    threads = max(entry.contestant.threads for entry in entries)
    rows: list[Row] = []
    for entry in entries:
        one = entry.contestant
        key = {"model": model, "input": size, **one.key, "way": entry.way}
        figures: dict[str, float | None] = {"verified_db": entry.verified_db}
        if entry.timing is not None:
            rate = None if macs is None else macs / entry.timing.median_s
            figures |= {"macs_per_s": rate, **_shares(one, rate, instructions, products, one.threads == threads)}
            figures |= _times(entry, entries)
        rows.append(Row(key=key, timing=entry.timing, failure=entry.failure, figures=figures))
    return rows


def _shares(
    one: Contestant,
    rate: float | None,
    instructions: Mapping[Instruction, float],
    products: Mapping[str, float],
    all_threads: bool,
) -> dict[str, float | None]:
    """What part of the peaks a rate is."""
    if rate is None:
        return {}
    product = products.get(one.computes) if all_threads else None
    found: dict[str, float | None] = {"peak_share": None if product is None else rate / product}
    if one.runtime == NATIVE and (peak := instructions.get(instruction_of(one))):
        share = rate / peak
        found |= {"instruction_share": share, "cycles_per_dot": 1 / (DOTS_PER_CYCLE * share)}
    return found


def _times(entry: Entry, entries: Sequence[Entry]) -> dict[str, float | None]:
    """How many times as fast as others the engine is; of others only what more threads bring."""
    one = entry.contestant
    found = {"times_one_thread": _speedup(_find(entries, one, threads=1), entry)} if one.threads > 1 else {}
    if one.runtime != NATIVE:
        return found
    same = [
        other
        for other in entries
        if other.timing is not None and other.contestant.threads == one.threads and not other.contestant.features
    ]
    longer = PRECISIONS[: PRECISIONS.index(one.computes) + 1]
    rivals = [other for other in same if other.contestant.runtime != NATIVE and other.contestant.computes in longer]
    best = min(rivals, key=_median_s, default=None)
    openvino = next((o for o in same if (o.contestant.title, o.contestant.computes) == ("openvino", "bf16")), None)
    return {**found, "times_best_other": _speedup(best, entry), "times_openvino_bf16": _speedup(openvino, entry)}


def _find(entries: Sequence[Entry], like: Contestant, *, threads: int) -> Entry | None:
    """The same contestant with another number of threads."""
    wanted = {**like.key, "threads": str(threads)}
    return next((entry for entry in entries if entry.contestant.key == wanted), None)


def _median_s(entry: Entry) -> float:
    assert entry.timing is not None
    return entry.timing.median_s


def _speedup(slow: Entry | None, fast: Entry) -> float | None:
    if slow is None or slow.timing is None or fast.timing is None:
        return None
    timings: dict[str, Timing] = {"slow": slow.timing, "fast": fast.timing}
    return speedup(timings, "slow", "fast")
