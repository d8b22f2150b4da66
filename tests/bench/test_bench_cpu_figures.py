"""Ratios, shares and targets, from made-up times."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.bench.cpu.contestants import NATIVE, Contestant, Engine, Name
from repsr_deploy.bench.cpu.figures import rows_of
from repsr_deploy.bench.cpu.heat import Entry
from repsr_deploy.bench.cpu.peaks import clock_notes, macs_of
from repsr_deploy.bench.cpu.targets import targets_of
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.target import Target
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError
from repsr_kernels.cpu.instruction_sets import Precision

SETS: dict[str, tuple[Precision, ...]] = {
    "portable": ("fp32", "int8"),
    "avx2": ("fp32", "int8"),
    "avx512bf16": ("fp32", "bf16", "int8"),
}
ENGINE = Engine(instruction_sets=SETS)


def entry(runtime: Name, computes: Precision, ms: float, threads: int = 2, instructions: str = "") -> Entry:
    one = Contestant(
        runtime=runtime, computes=computes, threads=threads, instruction_set=instructions, file=Path("m.onnx")
    )
    return Entry(contestant=one, way="whole", verified_db=60.0, timing=Timing((ms / 1e3, 2 * ms / 1e3, ms / 1e3)))


ENTRIES = [
    entry(NATIVE, "fp32", 10, instructions="avx512bf16"),
    entry(NATIVE, "bf16", 5, instructions="avx512bf16"),
    entry(NATIVE, "int8", 2, instructions="avx512bf16"),
    entry(NATIVE, "fp32", 20, instructions="avx2"),
    entry("openvino", "fp32", 30),
    entry("openvino", "bf16", 15),
    entry("openvino", "int8", 12),
    entry("onnxruntime", "fp32", 25),
    entry("pytorch", "bf16", 11),
    entry(NATIVE, "bf16", 9.5, threads=1, instructions="avx512bf16"),
    entry("openvino", "bf16", 28.5, threads=1),
    Entry(contestant=entry("pytorch", "fp32", 1).contestant, failure="no"),
]
INSTRUCTIONS = {("avx512bf16", one, 2): 4e9 for one in ("fp32", "int8")} | {
    ("avx512bf16", "bf16", 2): 1e9, ("avx512bf16", "bf16", 1): 5e8, ("avx2", "fp32", 2): 0.0,
}  # fmt: skip


def rows(size: str = "1x1", model: str = "photo-x2") -> list[Row]:
    return rows_of(ENTRIES, model=model, size=size, macs=4_000_000, instructions=INSTRUCTIONS, products={"bf16": 1.6e9})  # type: ignore[arg-type]


def figures(runtime: str, computes: str, threads: str = "2", instructions: str = "") -> dict[str, float | None]:
    (found,) = (
        row
        for row in rows()
        if (row.key["runtime"], row.key["computes"], row.key["threads"]) == (runtime, computes, threads)
        and row.key["instructions"] == instructions
    )
    return dict(found.figures)


def test_bf16_beside_everything() -> None:
    found = figures(NATIVE, "bf16", instructions="avx512bf16")
    assert found == {
        "verified_db": 60.0,
        "macs_per_s": pytest.approx(8e8),
        "peak_share": pytest.approx(0.5),
        "instruction_share": pytest.approx(0.8),
        "cycles_per_dot": pytest.approx(0.625),
        "times_one_thread": pytest.approx(1.9),
        "times_best_other": pytest.approx(11 / 5),
        "times_openvino_bf16": pytest.approx(3.0),
    }


def test_only_the_same_or_longer_precisions_are_rivals() -> None:
    assert figures(NATIVE, "fp32", instructions="avx512bf16")["times_best_other"] == pytest.approx(2.5)
    assert figures(NATIVE, "int8", instructions="avx512bf16")["times_best_other"] == pytest.approx(5.5)


def test_one_thread_is_compared_with_one_thread() -> None:
    found = figures(NATIVE, "bf16", threads="1", instructions="avx512bf16")
    assert found["times_openvino_bf16"] == found["times_best_other"] == pytest.approx(3.0)
    assert found["peak_share"] is None  # the matrix product had all threads
    assert found["instruction_share"] == pytest.approx(4e6 / 9.5e-3 / 5e8)
    assert "times_one_thread" not in found


def test_what_was_not_measured_is_left_out() -> None:
    assert "instruction_share" not in figures(NATIVE, "fp32", instructions="avx2")
    assert figures("openvino", "bf16") == {
        "verified_db": 60.0,
        "macs_per_s": pytest.approx(4e6 / 15e-3),
        "peak_share": pytest.approx(4e6 / 15e-3 / 1.6e9),
        "times_one_thread": pytest.approx(28.5 / 15),
    }
    failed = next(row for row in rows() if row.failure)
    assert failed.figures == {"verified_db": None}
    uncounted = rows_of(ENTRIES, model="m", size="1x1", macs=None, instructions=INSTRUCTIONS, products={})  # type: ignore[arg-type]
    assert uncounted[1].figures["macs_per_s"] is None
    assert "peak_share" not in uncounted[1].figures


def test_targets() -> None:
    large = [
        Row(
            key={**row.key, "input": "3840x2160", "way": "whole, alone"},
            timing=Timing((1.0,)),
            figures={"beyond_bytes": 65 * 2**20 if row.key["computes"] == "fp32" else 2**20},
        )
        for row in rows()[:3]
    ]
    wide = [*rows(model="plain-m16c64-x2"), Row(key={**rows()[1].key, "model": "plain-m6c40-x2"}, failure="no")]
    found = targets_of([*rows(), *large, *wide], model="photo-x2", sizes=["1x1", "2x2"], threads=2)
    judged = {target.name: (target.reached, target.met) for target in found}
    assert len(judged) == len(found) == 2 * 6 + 2 + 3
    assert judged["photo-x2, 1x1, bf16, times as fast as OpenVINO in bf16"] == (pytest.approx(3.0), True)
    assert judged["photo-x2, 1x1, bf16, of a matrix product's speed"] == (pytest.approx(0.5), False)
    assert judged["photo-x2, 1x1, int8, times as fast as our bf16"] == (pytest.approx(2.5), True)
    assert judged["photo-x2, 1x1, fp32 by AVX2, times as fast as the best other in fp32"] == (
        pytest.approx(1.25),
        False,
    )
    assert judged["photo-x2, 1x1, bf16, 2 threads, times as fast as 1"] == (pytest.approx(1.9), True)
    assert judged["photo-x2, 1x1, int8, 2 threads, times as fast as 1"] == (None, None)
    assert judged["photo-x2, 2x2, bf16, times as fast as OpenVINO in bf16"] == (None, None)
    assert judged["plain-m16c64-x2, 1x1, bf16, times as fast as the best other in bf16 or fp32"][1] is True
    assert judged["plain-m6c40-x2, 1x1, bf16, times as fast as the best other in bf16 or fp32"] == (None, None)
    memory = {name: met for name, (_, met) in judged.items() if "MiB" in name}
    assert list(memory.values()) == [False, True, True]


def test_bounds_from_above_and_below() -> None:
    limit = Target(name="memory", bound=64, reached=64.0, is_limit=True)
    assert limit.met is True
    assert str(limit) == "met: memory: 64 or less, found 64.00"
    assert str(Target(name="speed", bound=3, reached=2.999)) == "not met: speed: 3 or more, found 3.00"
    assert limit.to_dict() == {"name": "memory", "bound": 64, "reached": 64.0, "is_limit": True, "met": True}


def test_best_set_of_each_precision_and_those_that_are_wanted() -> None:
    best = [("avx512bf16", "fp32"), ("avx512bf16", "bf16"), ("avx512bf16", "int8")]
    assert ENGINE.chosen(()) == best
    assert ENGINE.chosen(("avx2", "avx512bf16")) == [*best, ("avx2", "fp32"), ("avx2", "int8")]
    with pytest.raises(UsageError, match="expected some of portable, avx2, avx512bf16"):
        ENGINE.chosen(("avx9",))
    nothing = Engine(instruction_sets={})
    assert nothing.chosen(()) == []
    with pytest.raises(UsageError, match="none, as there is no engine"):
        nothing.chosen(("avx2",))


def test_clock_follows_from_two_dot_products_a_cycle() -> None:
    assert macs_of("avx512bf16", "bf16") == 32
    peak = 2 * 2 * 4.1e9 * 32
    (note,) = clock_notes({("avx512bf16", "bf16", 2): peak, ("avx2", "fp32", 1): 1.0})
    assert note.startswith("the peak of bf16 by avx512bf16 means 4.1 GHz")
    assert clock_notes({}) == clock_notes({("avx2", "fp32", 1): 0.0}) == []


@pytest.mark.parametrize(
    ("name", "precision", "macs"),
    [("avx2", "fp32", 8), ("avx2", "int8", 16), ("avxvnni", "int8", 32), ("avx512", "int8", 32),
     ("avx512vnni", "int8", 64), ("neon_dotprod", "int8", 16), ("neon_bf16", "bf16", 8)],
)  # fmt: skip
def test_multiply_adds_of_an_instruction(name: str, precision: Precision, macs: int) -> None:
    assert macs_of(name, precision) == macs
