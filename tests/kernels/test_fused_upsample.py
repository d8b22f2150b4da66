"""`FusedUpsample` on processors, and the blocks of a GPU's threads, write every byte as the reference does."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repsr_kernels import cpu, reference
from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.host import host_library
from repsr_kernels.operations import FusedUpsample
from repsr_kernels.params import params_of
from tests.kernels.comparison import assert_same, difference
from tests.kernels.random_operations import Case, random_fused_upsample

BLOCKS = Path(__file__).with_name("fused_upsample_blocks.cpp")
QUICK = ("-O0",)
"""Behind -O3: what is compiled for one test need not be fast."""
TRAPS = ("-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error")
"""A vector at an address that a GPU would refuse, or an element beyond a block, ends the process."""
Run = Callable[[FusedUpsample], object]


def blocks_of(library: Path) -> Run:
    """Runs an operation by blocks of few pixels."""
    make_blocks = ctypes.CDLL(str(library)).make_blocks
    return lambda operation: make_blocks(ctypes.byref(params_of(operation)))


@pytest.fixture(scope="module")
def by_blocks() -> Run:
    return blocks_of(host_library([BLOCKS], flags=["-Wall", "-Wextra", "-Werror", *QUICK, *TRAPS]))


@pytest.mark.parametrize("seed", range(15))
def test_processors_write_what_the_reference_writes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        case = random_fused_upsample(rng)
        assert_same(case, case.run(reference.run), case.run(cpu.run))


@pytest.mark.parametrize("seed", range(5))
def test_blocks_of_a_gpu_are_what_the_reference_writes(seed: int, by_blocks: Run) -> None:
    rng = np.random.default_rng(1000 + seed)
    for _ in range(100):
        case = random_fused_upsample(rng)
        assert_same(case, case.run(reference.run), case.run(by_blocks))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(threads: int) -> None:
    rng = np.random.default_rng(threads)
    for kind in ("picture", "video"):
        case = random_fused_upsample(rng, kind=kind, scale=4, height=300, width=150)
        assert_same(case, case.run(reference.run), case.run(lambda operation: cpu.run(operation, threads)))


def test_the_smallest_pictures() -> None:
    rng = np.random.default_rng(2)
    for scale in (1, 2, 3, 4):
        for width in (1, 2, 63, 64, 65):
            for kind in ("picture", "video"):
                case = random_fused_upsample(rng, scale=scale, kind=kind, height=1, width=width)
                assert_same(case, case.run(reference.run), case.run(cpu.run))


FAULTS = {
    "rows and columns of the shuffle swapped": (
        "fused_upsample.cuh",
        "n, i * SCALE, y, x);",
        "n, i, y, x);",
        "first + (c * DEPTH + j) * view.channel",
        "first + (c * DEPTH + j * SCALE) * view.channel",
    ),
    "a column too many at the edge": ("blocks.cuh", "if (k < valid) first", "if (k <= valid) first"),
    "no clamp at white": ("numbers.cuh", "value < 1 ? value : 1.0f", "value"),
    "blue before red": ("blocks.cuh", "const bool reversed = view.channel < 0;", "const bool reversed = true;"),
    "chroma from one row": ("fused_upsample_video.cuh", "on_rows && r != 0 ? 0.25f : 0.5f", "r == 0 ? 1.0f : 0.0f"),
    "the next column beyond the crop counted": ("fused_upsample.cuh", "&& k < end ? 1", "&& k <= end ? 1"),
    "a pixel too far at the border": ("fused_upsample.cuh", "params.height - 1), x", "params.height - 2), x"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_error_is_seen(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "csrc"
    shutil.copytree(CSRC, folder)
    source = Path(shutil.copy(BLOCKS, folder))  # beside its own headers
    name, *changes = FAULTS[fault]
    text = (folder / name).read_text()
    for right, wrong in zip(changes[::2], changes[1::2], strict=True):
        assert right in text
        text = text.replace(right, wrong)
    (folder / name).write_text(text)
    run = blocks_of(host_library([source], flags=[*QUICK, "-DONLY_COLOUR_AT_SCALE_2", f"-I{folder}"]))
    rng = np.random.default_rng(3)
    assert any(_differs(random_fused_upsample(rng, scale=2, channels=3), run) for _ in range(60))


def _differs(case: Case, run: Run) -> bool:
    return difference(case, case.run(reference.run), case.run(run)) != ""
