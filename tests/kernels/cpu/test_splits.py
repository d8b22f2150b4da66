"""However a picture is cut into strips, columns and rows, and whoever makes them: the same bits."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import repsr_deploy
from repsr_kernels.cpu.network import Model, Network, Precision, instruction_sets
from tests.kernels.cpu.exactness import WHOLE, Kind, Split, picture, run
from tests.kernels.cpu.random_networks import Case, random_case

WEIGHTS = Path(repsr_deploy.__file__).parent / "weights" / "photo-x2.onnx"
CASES = 8
ARITHMETICS = [(name, precision) for name, computes in instruction_sets().items() for precision in computes]


def random_split(rng: np.random.Generator, height: int, width: int) -> Split:
    """Any of what a caller may ask for, sizes beyond the picture among them."""
    rows = None
    if rng.random() < 0.5:
        first = int(rng.integers(0, height))
        rows = (first, int(rng.integers(first, height)) + 1)
    return Split(
        rows=rows,
        threads=int(rng.choice([1, 1, 2, 3, 5])),
        strip_rows=int(rng.choice([0, 1, 2, int(rng.integers(1, height + 3))])),
        block_columns=int(rng.choice([0, 1, 16, 48, int(rng.integers(1, width + 3))])),
    )


def kind_of(rng: np.random.Generator, case: Case) -> Kind:
    kinds: list[Kind] = ["features"] if case.network.io == "features" else ["bytes", "planes", "features"]
    return rng.choice(np.array(kinds)).item()


@pytest.mark.parametrize(("instruction_set", "precision"), ARITHMETICS)
def test_no_split_changes_a_bit(instruction_set: str, precision: Precision) -> None:
    rng = np.random.default_rng(7)
    for seed in range(CASES):
        case = random_case(1000 + seed, int8=precision == "int8")
        kind = kind_of(rng, case)
        network = Network(Model(case.content), precision, instruction_set=instruction_set)
        image = picture(case, kind)
        height, width, _ = case.image_hwc.shape
        whole = run(network, image, kind, Split(strip_rows=height, block_columns=width), rng)
        scale = 1 if kind == "features" else case.network.scale
        for split in (WHOLE, *(random_split(rng, height, width) for _ in range(4))):
            first, end = split.rows or (0, height)
            rows = slice(scale * first, scale * end)
            expected = whole[rows] if kind == "bytes" else whole[:, rows]
            assert np.array_equal(run(network, image, kind, split, rng), expected), f"seed {seed}, {case}, {split}"


def test_runs_at_the_same_time_disturb_nobody() -> None:
    """One network, pictures of several sizes, each again and again: memory goes from one run to the next."""
    network = Network(Model(WEIGHTS.read_bytes()))
    rng = np.random.default_rng(9)
    images = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((9, 170), (40, 33), (3, 7))]
    expected = [run(network, image, "bytes", Split(strip_rows=999, block_columns=999)) for image in images]
    wrong: list[int] = []

    def again(number: int) -> None:
        for turn in range(6):
            split = Split(threads=1 + turn % 3, strip_rows=turn, block_columns=16 * (turn % 2))
            if not np.array_equal(run(network, images[number], "bytes", split), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=again, args=(number % 3,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_dirt_of_one_picture_reaches_no_other() -> None:
    """Memory is used again: a picture of NaN and infinities leaves nothing behind, at no border and in no padding."""
    network = Network(Model(WEIGHTS.read_bytes()))
    rng = np.random.default_rng(10)
    clean, dirty = rng.random((3, 6, 37), np.float32), np.full((3, 20, 90), np.nan, np.float32)
    expected = run(network, clean, "planes")
    for value in (np.nan, np.inf, 3e38):
        dirty[:] = value
        with pytest.raises(Exception, match="NaN or infinity"):
            run(network, dirty, "planes")
        assert np.array_equal(run(network, clean, "planes", Split(strip_rows=4, block_columns=17)), expected)


MEASURE = """
import resource, sys
import numpy as np
from repsr_kernels.cpu.network import Model, Network
network = Network(Model(open(sys.argv[1], "rb").read()))
image, out = np.ones((2160, 3840, 3), np.uint8), np.ones((4320, 7680, 3), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
network.upscale_images(image, out, threads=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_beyond_the_pictures_is_small() -> None:
    """4K in, 8K out: the rows of a strip are all that is kept; 64 MB at most, in fact a tenth of that."""
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, str(WEIGHTS)], check=True, capture_output=True, text=True, timeout=300
    ).stdout
    assert int(said) < 16 * 1024, f"{said} KB"
