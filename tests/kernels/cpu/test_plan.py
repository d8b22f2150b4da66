"""How a picture is cut into units of work, and what a processor says of itself: pure functions, asked many times."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.cpu.programs import make_program, said_by

L2 = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution, as the plan sees it."""

    cycles: float
    input_bytes: int
    weight_bytes: int


def plain(layers: int, channels: int, group: int = 2, lanes: int = 16) -> tuple[Layer, ...]:
    """RepSR-like networks x2: words of `group` channels."""
    counts = [group, *[channels] * (layers - 1), 12]
    return tuple(
        Layer(cycles=9 * before / group * after / (2 * lanes), input_bytes=4 * before // group,
              weight_bytes=36 * before // group * after)
        for before, after in pairwise(counts)
    )  # fmt: skip


M4C16, M6C32, M16C64 = plain(6, 16), plain(8, 32), plain(18, 64)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a plan is made for."""

    height: int
    width: int
    rows: tuple[int, int] | None = None
    layers: tuple[Layer, ...] = M4C16
    threads: int = 2
    strip_rows: int = 0
    block_columns: int = 0
    lanes: int = 16
    l2_bytes: int = L2

    @property
    def line(self) -> str:
        first, end = self.rows or (0, self.height)
        numbers = [self.height, self.width, first, end, self.lanes, self.l2_bytes, self.threads, self.strip_rows,
                   self.block_columns, len(self.layers)]  # fmt: skip
        costs = [number for each in self.layers for number in (each.cycles, each.input_bytes, each.weight_bytes)]
        return " ".join(map(str, ["plan", *numbers, *costs]))


@dataclass(frozen=True)
class Plan:
    """The answer."""

    asked: Question
    threads: int
    strips: int
    blocks: int
    units: tuple[tuple[int, int, int, int], ...]
    """First and last row, first and last column."""

    def cycles(self, unit: tuple[int, int, int, int]) -> float:
        """What a unit costs with everything around it: rows and columns that are made, in whole vectors."""
        first, end, left, right = unit
        total = 0.0
        for index, layer in enumerate(self.asked.layers):
            reach = len(self.asked.layers) - 1 - index
            rows = min(end + reach, self.asked.height) - max(first - reach, 0)
            columns = min(right + reach, self.asked.width) - max(left - reach, 0)
            total += rows * (200 + -(-columns // self.asked.lanes) * self.asked.lanes * layer.cycles)
        return total

    def busiest(self) -> float:
        """Cycles of the thread that is done last, where each takes the next unit when it is ready."""
        loads = [0.0] * self.threads
        for unit in self.units:
            loads[loads.index(min(loads))] += self.cycles(unit)
        return max(loads)

    def overhead(self) -> float:
        """How much longer than its share of the work without any halo the busiest thread takes."""
        ideal = self.asked.height * self.asked.width * sum(layer.cycles for layer in self.asked.layers)
        return self.busiest() * self.asked.threads / ideal - 1

    def bytes_kept(self) -> int:
        """Three rows of all layers of the largest unit."""
        columns = max(right - left for _, _, left, right in self.units)
        reach = len(self.asked.layers)
        return sum(
            3 * min(columns + 2 * (reach - index), self.asked.width) * layer.input_bytes + layer.weight_bytes
            for index, layer in enumerate(self.asked.layers)
        )


@pytest.fixture(scope="module")
def program() -> Path:
    return make_program("driver_plans", lambda unit: [] if unit.name == "plan.cpp" else None)


def plans(program: Path, *questions: Question) -> list[Plan]:
    lines = said_by(program, asked="".join(f"{each.line}\n" for each in questions)).splitlines()
    answers: list[Plan] = []
    for question, line in zip(questions, lines, strict=True):
        threads, strips, blocks, *corners = map(int, line.split())
        units = tuple(
            (first, end, left, right)
            for first, end, left, right in zip(corners[::4], corners[1::4], corners[2::4], corners[3::4], strict=True)
        )
        answers.append(Plan(question, threads, strips, blocks, units))
    return answers


def random_question(rng: np.random.Generator) -> Question:
    side = np.array([1, 2, 3, 7, 16, 17, 64, 100, 333])
    height, width = int(rng.choice(side)), int(rng.choice(side))
    first = int(rng.integers(0, height))
    return Question(
        height=height,
        width=width,
        rows=None if rng.random() < 0.5 else (first, int(rng.integers(first, height)) + 1),
        layers=plain(int(rng.integers(1, 20)), int(rng.choice([8, 16, 64]))),
        threads=int(rng.choice([1, 2, 3, 16, 64])),
        strip_rows=int(rng.choice([0, 0, 1, 5, 2**31 - 1])),
        block_columns=int(rng.choice([0, 0, 1, 5, 16, 2**31 - 1])),
        lanes=int(rng.choice([4, 8, 16])),
        l2_bytes=int(rng.choice([1 << 14, 1 << 18, L2])),
    )


def test_units_cover_every_pixel_once(program: Path) -> None:
    rng = np.random.default_rng(1)
    for plan in plans(program, *(random_question(rng) for _ in range(400))):
        asked = plan.asked
        first_row, end_row = asked.rows or (0, asked.height)
        count = np.zeros((asked.height, asked.width), int)
        for first, end, left, right in plan.units:
            assert first_row <= first < end <= end_row
            assert 0 <= left < right <= asked.width
            count[first:end, left:right] += 1
            assert end - first <= (asked.strip_rows or asked.height)
            assert right - left <= (asked.block_columns or asked.width)
        assert (count[first_row:end_row] == 1).all()
        assert count.sum() == (end_row - first_row) * asked.width
        assert len(plan.units) == plan.strips * plan.blocks
        assert 1 <= plan.threads <= min(asked.threads, len(plan.units))


def test_wishes_are_followed(program: Path) -> None:
    plan, one = plans(
        program,
        Question(height=100, width=90, strip_rows=30, block_columns=40),
        Question(height=100, width=90, strip_rows=2**31 - 1, block_columns=2**31 - 1),
    )
    assert (plan.strips, plan.blocks) == (4, 3)
    assert one.units == ((0, 100, 0, 90),)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_little_is_made_twice_and_nobody_waits(program: Path, threads: int) -> None:
    """Halos, whole vectors, calls and what the last thread takes longer, over all of the work."""
    sizes = ((360, 640), (720, 1280), (1080, 1920), (2160, 3840))
    limits = {M4C16: 0.06, M6C32: 0.08, M16C64: 0.16}
    asked = [
        Question(height=height, width=width, layers=layers, threads=threads)
        for layers in limits
        for height, width in sizes
    ]
    for plan in plans(program, *asked):
        assert plan.overhead() < limits[plan.asked.layers], (plan.asked, plan.strips, plan.blocks)


def test_many_threads_all_work(program: Path) -> None:
    for plan in plans(program, *(Question(height=1080, width=1920, threads=threads) for threads in (8, 16, 48, 64))):
        assert plan.threads > 0.9 * plan.asked.threads
        assert plan.overhead() < 0.35


def test_rows_stay_in_the_cache(program: Path) -> None:
    """Or in the next one, where a halo would cost more: the wider the layers, the fewer bytes a sum needs."""
    limits = {M4C16: 1, M6C32: 5, M16C64: 6}
    asked = [
        Question(height=height, width=width, layers=layers, l2_bytes=l2_bytes)
        for layers in limits
        for height, width in ((100, 400), (1000, 4000), (4000, 16000), (2000, 2**20))
        for l2_bytes in (L2 // 2, L2, 2 * L2)
    ]
    for plan in plans(program, *asked):
        assert plan.bytes_kept() < limits[plan.asked.layers] * plan.asked.l2_bytes, (plan.asked, plan.bytes_kept())


def test_blocks_are_made_of_whole_vectors(program: Path) -> None:
    """With all columns around them: what a vector has more is thrown away."""
    plan, wide = plans(program, Question(height=400, width=4000), Question(height=400, width=4000, lanes=8))
    for each in (plan, wide):
        assert each.blocks > 2
        inner = each.units[1]
        assert (inner[3] - inner[2] + 2 * 5) % each.asked.lanes == 0


def test_small_pictures_take_fewer_threads(program: Path) -> None:
    """A thread that has less than a tenth of a millisecond to do is started for nothing."""
    one, few, all_of_them = plans(
        program,
        Question(height=16, width=16, threads=64),
        Question(height=64, width=64, threads=64),
        Question(height=256, width=256, threads=8),
    )
    assert one.threads == 1
    assert 1 < few.threads < 16
    assert all_of_them.threads == 8


def test_enormous_pictures_are_no_trouble(program: Path) -> None:
    side = 2**24
    asked = [Question(height=height, width=width, rows=(height // 2, height // 2 + 1))
             for height, width in ((side, side), (1, side), (side, 1))]  # fmt: skip
    for plan in plans(program, *asked):
        assert plan.bytes_kept() < L2
        assert sum(right - left for _, _, left, right in plan.units) == plan.asked.width
    (forced,) = plans(program, Question(height=1, width=side, block_columns=side))
    assert max(right - left for _, _, left, right in forced.units) == 2**16  # bounded memory, whatever was wished


AVX, FMA = 1 << 28, 1 << 12
AVX2, AVX512F, AVX512DQ, AVX512BW, AVX512VL = 1 << 5, 1 << 16, 1 << 17, 1 << 30, 1 << 31
VBMI, VNNI, AVX_VNNI, BF16 = 1 << 1, 1 << 11, 1 << 4, 1 << 5
SSE_STATE, AVX_STATE, AVX512_STATE = 0x3, 0x7, 0xE7
ZMM = AVX2 | AVX512F | AVX512DQ | AVX512BW | AVX512VL


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CPUID is of x86-64")
@pytest.mark.parametrize(
    ("leaf1_ecx", "leaf7_ebx", "leaf7_ecx", "leaf7_1_eax", "xcr0", "expected"),
    [
        (0, 0, 0, 0, 0, ""),
        (AVX | FMA, AVX2, 0, 0, AVX_STATE, "avx2"),
        (AVX | FMA, AVX2, 0, 0, SSE_STATE, ""),  # the operating system does not keep the registers
        (AVX | FMA, 0, 0, 0, AVX_STATE, ""),
        (AVX, AVX2, 0, 0, AVX_STATE, ""),
        (AVX | FMA, AVX2, 0, AVX_VNNI, AVX_STATE, "avx2 avxvnni"),
        (AVX | FMA, ZMM, 0, 0, AVX_STATE, "avx2"),  # nor the longer ones
        (AVX | FMA, ZMM, 0, 0, AVX512_STATE, "avx2 avx512"),
        (AVX | FMA, ZMM & ~AVX512BW, VNNI | VBMI, BF16, AVX512_STATE, "avx2"),
        (AVX | FMA, ZMM, VNNI, 0, AVX512_STATE, "avx2 avx512 avx512vnni"),
        (AVX | FMA, ZMM, VBMI, BF16, AVX512_STATE, "avx2 avx512"),
        (AVX | FMA, ZMM, VNNI, BF16, AVX512_STATE, "avx2 avx512 avx512vnni"),  # without VBMI
        (AVX | FMA, ZMM, VNNI | VBMI, BF16, AVX512_STATE, "avx2 avx512 avx512vnni avx512bf16"),
        (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**64 - 1, "avx2 avxvnni avx512 avx512vnni avx512bf16"),
    ],
)
def test_what_a_processor_has(
    leaf1_ecx: int, leaf7_ebx: int, leaf7_ecx: int, leaf7_1_eax: int, xcr0: int, expected: str, program: Path
) -> None:
    asked = " ".join(f"{word:x}" for word in (leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_1_eax, xcr0))
    there = said_by(program, asked=f"features {asked}\n").split()
    names = ("avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16")
    assert [name for name, has in zip(names, there, strict=True) if has == "1"] == expected.split()
