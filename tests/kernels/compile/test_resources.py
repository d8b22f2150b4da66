"""No kernel needs more registers than there are: read from the compiler's own report, on every GPU that is named."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from repsr_kernels.compile import resources
from repsr_kernels.compile.nvcc import Nvcc
from repsr_kernels.compile.resources import Resources, parsed, resources_of
from repsr_kernels.compile.toolkit import ARCHITECTURES
from repsr_kernels.errors import RepsrError
from repsr_kernels.params import PADDINGS
from repsr_kernels.variants import Variant, fused_variant, preprocess_variant
from tests.kernels.compile.conftest import user_cache

EVERYTHING = os.environ.get("REPSR_ALL_KERNELS") == "1"
"""Whether every pair of constants is compiled somewhere, and every constant for every GPU: seven minutes of a core."""
MOST_REGISTERS = 255

Choice = dict[str, Any]

RESULTS: list[tuple[str, int]] = [("uint8", 0), ("fp32", 0), ("fp16", 0), ("bf16", 0), ("uint8", 8), ("uint16", 10)]
IMAGES: Sequence[tuple[int, str | None]] = [(0, None)] + [
    (s, kind) for s in (1, 2) for kind in ("uint8", "fp32", "fp16", "bf16")
]
FUSED: Choice = {
    "scale": [1, 2, 3, 4], "channels": [1, 3], "features": ["fp32", "fp16", "bf16"], "planar": [False, True],
    "image": IMAGES, "result": RESULTS, "architecture": ARCHITECTURES,
}  # fmt: skip
PREPROCESS: Choice = {
    "out": ["fp32", "fp16", "bf16"], "planar": [False, True], "video": [0, 8, 10], "padding": [0, 1, 2, 3],
    "architecture": ARCHITECTURES,
}  # fmt: skip


HALF: Choice = {"scale": 2, "channels": 3, "features": "fp16", "planar": True}
"""What TensorRT gives for a network at x2."""
LAST = len(ARCHITECTURES) - 1


def preprocess(video: int) -> Variant:
    return preprocess_variant(out="fp16", planar=True, video=video, padding=PADDINGS["edge"])


def fused_of(choice: Choice) -> Variant:
    (skip, image), (out, video) = choice["image"], choice["result"]
    given = {name: choice[name] for name in ("scale", "channels", "features", "planar")}
    return fused_variant(**given, skip=skip, image=image, out=out, video=video)


def preprocess_of(choice: Choice) -> Variant:
    return preprocess_variant(**{name: choice[name] for name in ("out", "planar", "video", "padding")})


def is_possible(choice: Choice) -> bool:
    """Video frames have colours."""
    return not ("result" in choice and choice["result"][1] and choice["channels"] == 1)


def pairs_of(choice: Choice) -> set[tuple[tuple[str, Any], ...]]:
    return set(itertools.combinations(choice.items(), 2))


def covering(factors: Choice) -> list[Choice]:
    """Choices in which every possible pair of values occurs: the best of some random ones, again and again."""
    chance = random.Random(0)
    wanted: set[tuple[tuple[str, Any], ...]] = set()
    for first, second in itertools.combinations(factors, 2):
        for value, other in itertools.product(factors[first], factors[second]):
            if is_possible({"channels": 3, first: value, second: other}):
                wanted.add(((first, value), (second, other)))
    rows: list[Choice] = []
    while wanted:
        given: Choice = dict(next(iter(sorted(wanted, key=str))))
        tried: list[Choice] = [
            {name: given.get(name, chance.choice(values)) for name, values in factors.items()} for _ in range(100)
        ]
        best = max(filter(is_possible, tried), key=lambda row: len(pairs_of(row) & wanted))
        wanted -= pairs_of(best)
        rows.append(best)
    return rows


@pytest.fixture(scope="module")
def plan() -> dict[int, list[Variant]]:
    """Variants by GPU: what a pipeline for pictures needs on all, what one for video needs on the oldest and newest."""
    pictures = [fused_variant(**HALF, skip=1, image="uint8", out="uint8", video=0), preprocess(video=0)]
    video = [fused_variant(**HALF, skip=1, image="fp16", out="uint8", video=8), preprocess(video=8)]
    chosen = [(number, variant) for number in ARCHITECTURES for variant in pictures]
    chosen += [(number, variant) for number in ARCHITECTURES[::LAST] for variant in video]
    if EVERYTHING:
        chosen += [(row["architecture"], fused_of(row)) for row in covering(FUSED)]
        chosen += [(row["architecture"], preprocess_of(row)) for row in covering(PREPROCESS)]
    return {number: list(dict.fromkeys(v for other, v in chosen if other == number)) for number in ARCHITECTURES}


@pytest.fixture(scope="module")
def report(plan: dict[int, list[Variant]], nvcc_here: Nvcc) -> list[Resources]:
    """Compiled once for each change of the kernels: kept in the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPSR_CACHE", str(user_cache()))
        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(resources_of, variants, number, nvcc_here) for number, variants in plan.items()]
        return [each for part in running for each in part.result()]


def test_every_pair_of_constants_occurs() -> None:
    rows = covering(FUSED)
    assert len(rows) < 100
    for first, second in [("scale", "features"), ("image", "architecture"), ("planar", "result")]:
        assert {(row[first], row[second]) for row in rows} == {(a, b) for a in FUSED[first] for b in FUSED[second]}
    assert {row["result"] for row in rows if row["channels"] == 1} == set(RESULTS[:4])


@pytest.mark.slow
def test_registers_hold_everything(report: list[Resources]) -> None:
    """Neither spills nor arrays in memory, on any GPU."""
    assert {each.target for each in report} == {f"sm_{number}" for number in ARCHITECTURES}
    assert {each.kernel.split("_scale")[0].split("_pixels")[0] for each in report} == {"fused_upsample", "preprocess"}
    assert [each for each in report if not each.fits] == []
    assert max(each.registers for each in report) <= MOST_REGISTERS


HUNGRY = """
extern "C" __global__ void REPSR_NAME(float* data) {
    float kept[REPSR_KEPT];
    for (int i = 0; i < REPSR_KEPT; ++i) kept[i] = data[i * 32 + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < REPSR_KEPT; ++i) data[i * 32 + threadIdx.x] = kept[REPSR_KEPT - 1 - i];
}
"""


def test_a_kernel_short_of_registers_is_seen(nvcc_here: Nvcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them in one file, each with constants of its own."""
    (tmp_path / "hungry.cu").write_text(HUNGRY)
    monkeypatch.setattr(resources, "CSRC", tmp_path)
    variants = [Variant("hungry", (("kept", count),)) for count in (8, 60)]
    few, many = resources_of(variants, 80, nvcc_here)
    assert (few.fits, many.fits) == (True, True)
    assert few.registers < 60 < many.registers
    few, many = resources_of(variants, 80, nvcc_here, flags=["-maxrregcount=32"])
    assert (few.fits, many.fits) == (True, False)
    assert many.registers <= 32
    assert many.spilled_bytes > 0
    assert many.stack_bytes > 0


SAID = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_75'
ptxas info    : Function properties for first
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 600 bytes cmem[0]
ptxas info    : Compiling entry function 'second' for 'sm_120'
ptxas info    : Function properties for second
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 24 bytes cumulative stack size
"""


def test_what_ptxas_says() -> None:
    first, second = parsed(SAID)
    assert first == Resources(kernel="first", target="sm_75", registers=40, stack_bytes=0, spilled_bytes=0)
    assert second == Resources(kernel="second", target="sm_120", registers=255, stack_bytes=24, spilled_bytes=36)
    assert (first.fits, second.fits) == (True, False)


def test_what_ptxas_does_not_say() -> None:
    with pytest.raises(RepsrError, match="ptxas does not tell all resources of first"):
        list(parsed(SAID.replace("0 bytes stack frame", "no stack frame", 1)))
