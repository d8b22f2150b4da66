"""`Preprocess`: the reference against NumPy's padding and OpenCV's colours, what is compiled against the reference."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels import cpu, reference
from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.host import host_library
from repsr_kernels.operations import FusedUpsample, Padding, Preprocess
from repsr_kernels.params import PADDINGS, Params, params_of
from repsr_kernels.tensors import LONGEST_SIDE, on_host
from repsr_kernels.variants import grid_of, preprocess_variant, variant_of
from repsr_kernels.yuv import MatrixName, Siting, YuvColour, YuvFrame
from tests.kernels.comparison import assert_same, difference
from tests.kernels.random_preprocess import random_preprocess

HERE = Path(__file__).parent
EMULATION = HERE.parent / "simulated_gpu"
QUICK = ("-O1",)
"""Behind -O3: what is compiled for one test need not be fast."""
MODES: dict[Padding, Literal["constant", "edge", "reflect", "wrap"]] = {
    "zero": "constant", "edge": "edge", "reflect": "reflect", "wrap": "wrap",
}  # fmt: skip
VARIANTS = [
    preprocess_variant(out="fp16", planar=True, video=0, padding=PADDINGS["reflect"]),
    preprocess_variant(out="fp32", planar=False, video=0, padding=PADDINGS["zero"]),
    preprocess_variant(out="fp32", planar=True, video=8, padding=PADDINGS["wrap"]),
    preprocess_variant(out="bf16", planar=False, video=10, padding=PADDINGS["edge"]),
]
"""Every type, layout, source and padding once."""

Run = Callable[[Any], object]


def executor(library: Path) -> Run:
    """Runs operations in a library for processors, on two threads."""
    function = ctypes.CDLL(str(library)).repsr_preprocess

    def run(operation: Preprocess) -> None:
        assert function(ctypes.byref(params_of(operation)), 2) == 0

    return run


# --------------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("padding", get_args(Padding))
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (4, 1), (2, 2), (6, 9)])
def test_borders_are_those_of_numpy(padding: Padding, height: int, width: int) -> None:
    """Up to several times around."""
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    around = [(13, 8), (7, 21), (0, 0)]
    out = np.full((3, height + 21, width + 28), np.nan, np.float32)
    operation = Preprocess(
        source=on_host(image, "nhwc"), out=on_host(out, "nchw"), top=-13, left=-7, padding=padding, range=(-1, 3)
    )
    reference.run(operation)
    values = (image / 255 * 4 - 1).astype(np.float32)
    expected = np.pad(values, around, MODES[padding]).transpose(2, 0, 1)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6)


def test_a_tile_is_a_part_of_the_whole_and_other_channels_are_zero() -> None:
    image = np.random.default_rng(2).integers(0, 256, (2, 20, 30), np.uint8)
    out = np.full((2, 5, 7, 4), np.nan, np.float16)
    reference.run(Preprocess(source=on_host(image[:, None], "nchw"), out=on_host(out, "nhwc"), top=11, left=20))
    np.testing.assert_array_equal(out[..., 0], (image[:, 11:16, 20:27] / np.float32(255)).astype(np.float16))
    assert not out[..., 1:].any()


def test_order_of_colours_is_that_of_the_source() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    image[..., 0] = 255  # blue, in OpenCV's order
    out = np.empty((3, 1, 1), np.float32)
    reference.run(Preprocess(source=on_host(image, "nhwc", order="bgr"), out=on_host(out, "nchw")))
    assert out.ravel().tolist() == [0, 0, 1]


def video_frame(codes_hw3: NDArray[Any], colour: YuvColour, bits: int) -> YuvFrame:
    """A frame of such codes, which are the same for 2 x 2 pixels each."""
    samples = codes_hw3.astype(np.uint8) if bits == 8 else codes_hw3.astype(np.uint16) << 6
    luma, chroma = np.ascontiguousarray(samples[..., :1]), np.ascontiguousarray(samples[::2, ::2, 1:])
    return YuvFrame(on_host(luma, "nhwc"), on_host(chroma, "nhwc"), colour=colour)


def test_nv12_is_that_of_opencv() -> None:
    """Which takes limited range and BT.601, and repeats chroma: the same in areas of one colour."""
    codes = np.random.default_rng(3).integers((16, 16, 16), (236, 241, 241), (5, 6, 3)).repeat(8, 0).repeat(8, 1)
    packed = np.concatenate([codes[..., 0], codes[::2, ::2, 1:].reshape(20, 48)]).astype(np.uint8)
    expected = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_NV12)[4::8, 4::8]
    out = np.empty((40, 48, 3), np.float32)
    source = video_frame(codes, YuvColour(matrix="bt601"), 8)
    reference.run(Preprocess(source=source, out=on_host(out, "nhwc")))
    np.testing.assert_allclose(out[4::8, 4::8] * 255, expected, rtol=0, atol=1)


# ------------------------------------------------------------------------------------- there and back, for users' eyes


@pytest.mark.parametrize("run", [reference.run, cpu.run], ids=["reference", "cpu"])
@pytest.mark.parametrize("siting", get_args(Siting))
@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", get_args(MatrixName))
@pytest.mark.parametrize("bits", [8, 10])
def test_colour_bars_survive_video(bits: int, matrix: MatrixName, full_range: bool, siting: Siting, run: Run) -> None:
    bars = np.array([[r, g, b] for r in (0, 180, 255) for g in (0, 255) for b in (0, 75, 255)], np.uint8)
    image = np.tile(bars.repeat(8, 0), (6, 1, 1))  # 6 x 144 x 3
    kind = np.uint8 if bits == 8 else np.uint16
    luma, chroma = np.empty((6, 144, 1), kind), np.empty((3, 72, 2), kind)
    colour = YuvColour(matrix=matrix, full_range=full_range, siting=siting)
    frame = YuvFrame(on_host(luma, "nhwc"), on_host(chroma, "nhwc"), colour=colour)
    nothing = on_host(np.zeros((3, 6, 144), np.float32), "nchw")
    run(FusedUpsample(features=nothing, image=on_host(image, "nhwc"), out=frame, scale=1, skip="nearest"))
    back = np.empty((6, 144, 3), np.float32)
    run(Preprocess(source=frame, out=on_host(back, "nhwc")))
    inner = np.arange(144).reshape(18, 8)[:, 2:6].ravel()  # chroma of two bars is mixed where they meet
    error = np.abs(back - image / 255)[:, inner]
    halves_of_codes = np.abs(colour.colours(bits)).sum(axis=1) / 2  # as far as rounding can lead astray
    assert np.all(error < halves_of_codes + 1e-6)
    primary = np.intersect1d(np.flatnonzero(np.isin(image[0], [0, 255]).all(axis=1)), inner)
    assert np.abs(np.rint(back * 255) - image)[:, primary].max() <= 1
    gray = np.intersect1d(np.flatnonzero((image[0] == image[0, :, :1]).all(axis=1)), inner)
    assert np.ptp(back[:, gray], axis=2).max() == 0


@pytest.mark.parametrize("siting", get_args(Siting))
def test_a_ramp_of_colour_is_straight(siting: Siting) -> None:
    """A mistake of half a pixel in the siting would bend it, or shift it by 2 codes."""
    ramp = np.arange(32) * 4 + 60
    image_codes = np.stack([np.full((8, 32), 120), np.tile(ramp, (8, 1)), np.full((8, 32), 128)], axis=-1)
    shift = 2 if siting == "center" else 0  # codes of Cb between an even column and the next
    chroma = np.ascontiguousarray(image_codes[::2, ::2, 1:]) + np.array([shift, 0])
    source = YuvFrame(
        on_host(image_codes[..., :1].astype(np.uint8), "nhwc"), on_host(chroma.astype(np.uint8), "nhwc"),
        colour=YuvColour(matrix="bt709", full_range=True, siting=siting),
    )  # fmt: skip
    out = np.empty((8, 32, 3), np.float32)
    reference.run(Preprocess(source=source, out=on_host(out, "nhwc")))
    blue = (out[..., 2] * 255 - 120) / 1.8556 + 128  # BT.709-6: B' - Y' = 1.8556 Cb
    np.testing.assert_allclose(blue[:, 1:-1], np.tile(ramp, (8, 1))[:, 1:-1], rtol=0, atol=1e-3)


# ---------------------------------------------------------------------------------- everything compiled, byte for byte


@pytest.mark.parametrize("seed", range(6))
def test_processors_write_what_the_reference_writes(seed: int) -> None:
    rng = np.random.default_rng([6, seed])
    for _ in range(200):
        case, threads = random_preprocess(rng), int(rng.integers(1, 5))
        assert_same(case, case.run(reference.run), case.run(lambda operation: cpu.run(operation, threads)))  # noqa: B023


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The GPU's kernels in some variants, emulated."""
    defined = {name for variant in VARIANTS for name, _ in variant.constants}
    forgotten = "".join(f"#undef REPSR_{name}\n" for name in ["NAME", *(name.upper() for name in defined)])
    source = tmp_path_factory.mktemp("kernels") / "preprocess_variants.cpp"
    source.write_text(forgotten.join(variant.text for variant in VARIANTS))
    flags = (*QUICK, f"-I{EMULATION}", "-include", "cuda_on_host.h")
    library = ctypes.CDLL(str(host_library([source], flags=flags)))
    library.repsr_emulate_message.restype = ctypes.c_char_p
    return library


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_kernels_write_what_the_reference_writes(variant: Any, kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng([8, VARIANTS.index(variant)])

    def launch(operation: Preprocess) -> None:
        grid, block = grid_of(operation)
        grid = (grid[0], max(grid[1] // int(rng.integers(1, 4)), 1), 1)  # threads go on where the grid ends
        params: Params = params_of(operation)
        own, sizes = (ctypes.byref(params), ctypes.c_size_t(ctypes.sizeof(params))), ctypes.c_uint * 3
        error = kernels[f"repsr_emulate_{variant.name}"](sizes(*grid), sizes(*block), ctypes.c_size_t(0), *own)
        assert error == 0, kernels.repsr_emulate_message()

    done = 0
    while done < 60:
        case = random_preprocess(rng)
        assert isinstance(case.operation, Preprocess)
        if variant_of(case.operation) == variant:
            assert_same(case, case.run(reference.run), case.run(launch))
            done += 1


@pytest.mark.parametrize(
    ("file", "text", "mistaken"),
    [
        ("border.cuh", "phase < length ? phase : period - phase", "phase < length ? phase : period - phase - 1"),
        ("yuv.cuh", "odd ? 0.25f : 0.75f", "odd ? 0.75f : 0.25f"),
        ("preprocess.cuh", "odd ? across[k + 1]", "odd ? across[k]"),
        ("preprocess.cuh", "c < channels;", "c < channels - 1;"),
        ("preprocess.cuh", "above_or_below || ", "above_or_below && "),
        ("shifted.cuh", "words[i / 4 + 1]", "words[i / 4]"),
    ],
)
def test_planted_mistakes_are_found(file: str, text: str, mistaken: str, tmp_path: Path) -> None:
    copy = tmp_path / "csrc"
    shutil.copytree(CSRC, copy)
    original = (copy / file).read_text()
    assert text in original
    (copy / file).write_text(original.replace(text, mistaken))
    vectors = f"-DREPSR_VECTORS={int(file == 'shifted.cuh')}"
    run = executor(host_library([copy / "host_preprocess.cpp"], flags=("-O0", vectors)))
    rng = np.random.default_rng(9)
    cases = (random_preprocess(rng) for _ in range(300))
    assert any(difference(case, case.run(reference.run), case.run(run)) for case in cases)


# ----------------------------------------------------------------------------------------- what no picture can reach


def test_positions_are_right_up_to_the_ends_of_32_bits() -> None:
    mapped = ctypes.CDLL(str(host_library([HERE / "preprocess_parts.cpp"], flags=QUICK))).repsr_mapped
    farthest = LONGEST_SIDE // 2
    rng = np.random.default_rng(10)
    sides = [*range(1, 8), farthest, farthest + 1, LONGEST_SIDE - 1, LONGEST_SIDE, *rng.integers(1, LONGEST_SIDE, 40)]
    starts = [0, -1, 1, -farthest - 1, -farthest, farthest, *rng.integers(-farthest, farthest, 40), *range(-20, 20)]
    steps = [0, 1, LONGEST_SIDE - 1, *rng.integers(0, LONGEST_SIDE, 10)]
    for side, start, step in ((int(a), int(b), int(c)) for a in sides for b in starts for c in steps):
        position = start + step
        turn = position % (2 * side - 2) if side > 1 else 0
        expected: dict[Padding, int] = {
            "edge": min(max(position, 0), side - 1),
            "wrap": position % side,
            "reflect": min(turn, 2 * side - 2 - turn),
        }
        for padding, pixel in expected.items():
            assert mapped(PADDINGS[padding], start, step, side) == pixel, (padding, start, step, side)
