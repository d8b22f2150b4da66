"""What is particular to the native engine as a runtime; `test_every_runtime` has the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
import tifffile
from onnx import helper

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.imaging.image_network import ROWS_TILE
from repsr_deploy.imaging.memory import BUDGET_BYTES, bytes_per_pixel
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import (
    Candidate,
    candidates,
    choice,
    choice_cache,
    choose,
    native,
    open_runtime,
    unavailable,
)
from repsr_deploy.runtimes.base import RowByRow
from repsr_deploy.runtimes.native import NativeRuntime
from repsr_deploy.weights import find_model
from repsr_kernels.cpu.network import instruction_sets, precisions
from tests.imaging.strips.small_cases import run, write_tiff
from tests.runtimes.here import STORED
from tests.runtimes.models import features_model, foreign, image_model, int8_model, plain_model, spec_of, with_info

if reason := native.why_unavailable():
    pytest.skip(reason, allow_module_level=True)

SETS = instruction_sets()


@pytest.fixture(scope="module")
def model() -> bytes:
    return plain_model(spec_of(2, 2, 16)).SerializeToString()


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `auto` measures is forgotten, and quickly measured; the compiled engine stays."""
    monkeypatch.setattr(choice, "MEASURING_S", 0.05)
    monkeypatch.setattr(choice_cache, "cache_dir", tmp_path.joinpath)


def opened(model: bytes | Path, precision: Precision | None = None, threads: int | None = None) -> NativeRuntime:
    runtime = open_runtime(model, "native", threads=threads, precision=precision)
    assert isinstance(runtime, NativeRuntime)
    return runtime


def photograph(height: int = 91, width: int = 93) -> Any:
    return np.ascontiguousarray(skimage.data.astronaut()[30 : 30 + height, 150 : 150 + width])


def in_small_bands(monkeypatch: pytest.MonkeyPatch, rows: int = 1) -> None:
    monkeypatch.setattr(native, "BAND_S", 0.0)
    monkeypatch.setattr(native, "LEAST_ROWS", rows)


@pytest.mark.parametrize("name", SETS)
def test_the_environment_chooses_the_instructions(name: str, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    x_nchw = np.random.default_rng(0).random((1, 3, 21, 34), np.float32)
    expected = opened(model, "fp32").run(x_nchw)
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", name)
    runtime = opened(model)
    assert (runtime.instruction_set, runtime.precision) == (name, "fp32")
    np.testing.assert_allclose(runtime.run(x_nchw), expected, rtol=0, atol=1e-6 if name == "portable" else 0)
    info = ModelInfo(name="m", scale=2, halo=4)
    here = [candidate.precision for candidate in candidates(info) if candidate.runtime == "native"]
    assert here == [precision for precision in ("fp32", "bf16") if precision in SETS[name]]
    if "bf16" not in SETS[name]:
        with pytest.raises(
            RuntimeUnavailableError, match=r"runtime native computes .* in fp32 on this machine, not in bf16"
        ):
            opened(model, "bf16")


def test_instructions_that_are_not_here(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", "sve9")
    with pytest.raises(RuntimeUnavailableError, match="REPSR_INSTRUCTION_SET is 'sve9', and here are portable"):
        opened(model)
    assert "take runtime onnxruntime" in unavailable()["native"]
    assert "native" not in {item.candidate.runtime for item in choose(model, threads=1).measured}


@pytest.mark.parametrize("stored", STORED)
def test_precisions_of_a_stored_one(stored: Precision) -> None:
    offered = native.precisions(ModelInfo(name="m", scale=2, halo=4, precision=stored))
    halves = "bf16" in precisions()
    assert (
        offered
        == {
            "fp32": ("fp32", "bf16") if halves else ("fp32",),
            "fp16": ("fp32", "bf16") if halves else ("fp32",),
            "bf16": ("bf16",) if halves else ("fp32",),
            "int8": ("int8",),
        }[stored]
    )


def test_auto_takes_it_where_it_is_fastest() -> None:
    chosen = choose(find_model("photo-x2"), threads=1)
    assert {"native", "onnxruntime"} <= {item.candidate.runtime for item in chosen.measured}
    times = {item.candidate: item.median_s for item in chosen.measured if item.median_s is not None}
    assert chosen.candidate == min(times, key=lambda candidate: times[candidate])
    if "avx512bf16" in SETS:  # where it is several times as fast as any other
        assert chosen.candidate == Candidate("native", "bf16")
        assert isinstance(chosen.runtime, RowByRow)


def test_the_halo_of_tiles_counts_for_those_that_need_them(model: bytes) -> None:
    info = open_runtime(model, "onnxruntime").info
    assert info.halo == 4
    assert choice._with_halo(open_runtime(model, "onnxruntime")) == pytest.approx((328 / 320) ** 2)  # pyright: ignore[reportPrivateUsage]
    assert choice._with_halo(opened(model)) == 1.0  # pyright: ignore[reportPrivateUsage]


def test_another_engine_is_measured_anew(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(model, threads=1)
    for change in ({"sources": "0"}, None):
        with monkeypatch.context() as patch:
            patch.setattr(native, "identity", lambda change=change: change)
            patch.setattr(choice, "time_side_by_side", lambda *args, **kwargs: pytest.fail("measured"))  # pyright: ignore[reportUnknownLambdaType]
            with pytest.raises(pytest.fail.Exception, match="measured"):
                choose(model, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(choice, "time_side_by_side", lambda *args, **kwargs: pytest.fail("measured"))  # pyright: ignore[reportUnknownLambdaType]
        choose(model, threads=1)


def sigmoid_behind(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].output[0] = "clamped"
    model.graph.node.append(helper.make_node("Sigmoid", ["clamped"], ["output"], name="gate"))
    return model


def strided(model: onnx.ModelProto) -> onnx.ModelProto:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.attribute.append(helper.make_attribute("dilations", [2, 2]))
    conv.name = "head"
    next(item for item in conv.attribute if item.name == "pads").ints[:] = [2, 2, 2, 2]
    return model


@pytest.mark.parametrize(("spoil", "node"), [(sigmoid_behind, "gate"), (strided, "head")])
def test_a_network_that_is_not_plain(spoil: Any, node: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(spoil(plain_model(spec_of())).SerializeToString())
    with pytest.raises(
        RuntimeUnavailableError, match=rf"runtime native does not compute .*m\.onnx: .*{node}.*repsr-fuse export"
    ):
        open_runtime(path, "native")
    info = open_runtime(path, "onnxruntime").info
    assert "native" in {candidate.runtime for candidate in candidates(info)}
    assert "native" not in {candidate.runtime for candidate in candidates(info, path)}
    assert unavailable(path)["native"].startswith("runtime native does not compute this network: ")
    chosen = choose(path, threads=1, precision="fp32")
    assert "native" not in {item.candidate.runtime for item in chosen.measured}


def test_a_damaged_model_is_an_error_and_never_a_crash() -> None:
    content = plain_model(spec_of(2, 1, 4)).SerializeToString()
    random = np.random.default_rng(0)
    damaged = [content[:length] for length in random.integers(0, len(content), 40).tolist()]
    for _ in range(100):
        changed = bytearray(content)
        for place in random.integers(0, len(content), int(random.integers(1, 4))).tolist():
            changed[place] = int(random.integers(0, 256))
        damaged.append(bytes(changed))
    said: list[str] = []
    for each in damaged:
        try:
            runtime = open_runtime(each, "native", threads=1)
            runtime.run_images(photograph(5, 7)[None])
        except (ModelFileError, RuntimeUnavailableError, UsageError) as error:
            said.append(str(error))
    assert len(said) > 40
    assert not [text for text in said if "\n" in text]


def test_a_foreign_file_of_8_bit_codes_is_one_of_int8() -> None:
    stated = int8_model(plain_model(spec_of()))
    runtime = opened(foreign(stated))
    assert (runtime.info.precision, runtime.precision) == ("int8", "int8")
    images = photograph(31, 57)[None]
    np.testing.assert_array_equal(runtime.run_images(images), opened(stated.SerializeToString()).run_images(images))


@pytest.mark.parametrize(("made", "says", "layers"), [(int8_model, "fp32", 3), (STORED["fp32"], "int8", 0)])
def test_a_file_that_says_another_precision_than_its_graph(made: Any, says: Precision, layers: int) -> None:
    content = with_info(made(plain_model(spec_of())), precision=says).SerializeToString()
    with pytest.raises(
        ModelFileError, match=f"has {layers} layers of 8-bit codes, and the model says precision {says}"
    ):
        opened(content)


@pytest.mark.parametrize(("change", "match"), [
    ({"colour": "y"}, "has colour rgb, and the model says colour y; export it again"),
    ({"io": "image"}, "has io float, and the model says io image"),
    ({"scale": 3}, "has scale 2, and the model says scale 3"),
])  # fmt: skip
def test_a_file_that_says_something_else_than_its_graph(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        opened(with_info(plain_model(spec_of()), **change).SerializeToString())


def test_weights_in_another_file(model: bytes, tmp_path: Path) -> None:
    path, weights = tmp_path / "m.onnx", tmp_path / "m.bin"
    onnx.save(
        onnx.ModelProto.FromString(model), path, save_as_external_data=True, location=weights.name, size_threshold=0
    )
    images = photograph(31, 57)[None]
    np.testing.assert_array_equal(opened(path).run_images(images), opened(model).run_images(images))
    weights.unlink()
    with pytest.raises(ModelFileError, match=r"^cannot read the weights of \S*m\.onnx \("):
        opened(path)


@pytest.mark.parametrize("change", [features_model, image_model])
def test_a_foreign_file_of_another_io(change: Any) -> None:
    with pytest.raises(ModelFileError, match=r"says nothing about itself and is of io .*; expected float32 images"):
        opened(foreign(change(plain_model(spec_of()))))


def test_a_file_of_one_shape_takes_pictures_of_any(model: bytes) -> None:
    """What the network computes has no shape, so nothing is to be cut or padded."""
    fixed = onnx.ModelProto.FromString(model)
    for value, scale in ((fixed.graph.input[0], 1), (fixed.graph.output[0], 2)):
        for axis, side in zip((0, 2, 3), (1, 40 * scale, 48 * scale), strict=True):
            value.type.tensor_type.shape.dim[axis].dim_value = side
    runtime = opened(fixed.SerializeToString())
    assert runtime.limits is None
    images = np.stack([photograph(31, 57)] * 2)
    np.testing.assert_array_equal(runtime.run_images(images), opened(model).run_images(images))


def test_whole_pictures_go_from_where_they_lie_to_where_they_shall_be(model: bytes) -> None:
    """With rows apart, in memory that is marked around the result, and with no array of the picture's size beside."""
    runtime = opened(model, threads=2)
    wide, marked = photograph(160, 200), np.full((330, 410, 3), 77, np.uint8)
    image, out = wide[3:153, 11:192], marked[5:305, 7:369]
    expected = runtime.run_images(image[None].copy())[0]
    kept, done = wide.copy(), []
    tracemalloc.start()
    try:
        runtime.enlarge_rows(image, out, done.append)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 < out.size
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(wide, kept)
    out[...] = 77
    assert (marked == 77).all()
    assert done[-1] == 150 * 181
    with pytest.raises(UsageError):
        runtime.enlarge_rows(image, out[:-1], done.append)
    with pytest.raises(UsageError):
        runtime.enlarge_rows(image[..., :1], out, done.append)


def test_the_upscaler_makes_no_array_beside_the_result(model: bytes) -> None:
    upscaler = Upscaler(opened(model))
    image = photograph(300, 330)
    upscaler.upscale(image)
    tracemalloc.start()
    try:
        made = upscaler.upscale(image)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < made.nbytes + 30_000


@pytest.mark.parametrize("precision", precisions()[:2])
@pytest.mark.parametrize("kind", ["rgb", "rgba", "gray", "16-bit rgb", "float"])
def test_bands_tiles_and_threads_change_no_bit(
    kind: str, precision: Precision, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photograph()
    image = {
        "rgb": image,
        "rgba": np.concatenate([image, image[..., :1]], axis=-1),
        "gray": image[..., 1],
        "16-bit rgb": image.astype(np.uint16) * 257,
        "float": image.astype(np.float32) / np.float32(255),
    }[kind]
    whole = Upscaler(opened(model, precision, threads=1)).upscale(image)
    assert whole.std() > 0.05 * (1 if kind == "float" else 255)
    for tile in (17, 64):
        np.testing.assert_array_equal(Upscaler(opened(model, precision), tile=tile).upscale(image), whole)
    in_small_bands(monkeypatch)
    np.testing.assert_array_equal(Upscaler(opened(model, precision, threads=2)).upscale(image), whole)


def test_strips_of_a_large_picture_are_the_whole_one(model: bytes, tmp_path: Path) -> None:
    image = photograph(150, 170)
    upscaler = Upscaler(opened(model))
    run(write_tiff(tmp_path / "in.tif", image), tmp_path / "out.tif", upscaler, block_bytes=20_000)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), upscaler.upscale(image))


def test_progress_is_told_band_by_band(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_bands(monkeypatch, rows=2)
    calls: list[tuple[int, int]] = []
    Upscaler(opened(model)).upscale(photograph(), factor=4, progress=lambda done, total: calls.append((done, total)))
    total = 91 * 93 * 5
    done = [done for done, _ in calls]
    assert {total for _, total in calls} == {total}
    assert done == sorted(set(done))
    assert len(done) > 20
    assert done[-1] == total
    assert 91 * 93 in done


def test_bands_are_as_long_as_the_speed_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated time: 10 rows of 100 pixels a second, then 1000."""
    now, speed = [0.0], [1000.0]
    monkeypatch.setattr(native.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(native, "BAND_S", 1.0)
    pace = native._Pace(layers=1)  # pyright: ignore[reportPrivateUsage]

    def run(height: int) -> list[int]:
        rows: list[int] = []
        for first, end in pace.bands(height, 100):
            assert first == sum(rows)
            rows.append(end - first)
            now[0] += rows[-1] * 100 / speed[0]
        assert sum(rows) == height
        return rows

    assert run(64) == [16, 16, 16, 16]  # no fewer rows, as halos would be most of the work
    speed[0] = 100_000.0
    assert run(2100) == [16, 695, 695, 694]
    assert run(900) == [900]


def test_whoever_is_told_of_progress_may_end_it(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_bands(monkeypatch)

    def give_up(done: int, total: int) -> None:
        if done > total / 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Upscaler(opened(model)).upscale(photograph(), progress=give_up)


def test_ctrl_c_is_heard_between_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of work, interrupted after a tenth of one."""
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", [*SETS][min(1, len(SETS) - 1)])
    upscaler = Upscaler(opened(find_model("photo-x2"), "fp32", threads=1))
    image = np.zeros((12_000, 1000, 3), np.uint8)
    done: list[int] = []
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            upscaler.upscale(image, progress=lambda pixels, total: done.append(pixels))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not done or done[-1] < 12_000_000 / 2


def test_a_tile_is_as_large_as_memory_allows(model: bytes) -> None:
    info = opened(model).info
    assert bytes_per_pixel(info, in_rows=True) < bytes_per_pixel(info) / 2
    image = np.zeros((1200, 40), np.uint16)
    calls: list[int] = []
    Upscaler(opened(model)).upscale(image, progress=lambda done, total: calls.append(done))
    assert len(calls) == -(-1200 // ROWS_TILE)
    side = 64
    budget = bytes_per_pixel(info, in_rows=True) * (side + 8) ** 2
    assert budget < BUDGET_BYTES
    calls.clear()
    Upscaler(opened(model), budget_bytes=budget).upscale(image, progress=lambda done, total: calls.append(done))
    assert len(calls) == -(-1200 // side)


OUT_OF_MEMORY = """
import resource, sys
import numpy as np
from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime

image = np.random.default_rng(0).integers(0, 256, (96, 2000, 3), np.uint8)
out = np.empty((192, 4000, 3), np.uint8)
model = sys.stdin.buffer.read()
expected, upscaler = (Upscaler(open_runtime(model, "native", threads=threads)) for threads in (1, 2))
expected = expected.upscale(image)
with open("/proc/self/statm") as statm:
    resource.setrlimit(resource.RLIMIT_AS, (int(statm.read().split()[0]) * resource.getpagesize(), -1))
taken = []
for size in (2**22, 2**16, 2**12):
    try:
        while True:
            taken.append(bytearray(size))
    except MemoryError:
        pass
while True:
    out[...] = 0
    try:
        upscaler.upscale(image, allocate=lambda shape, kind: out)
    except RepsrError as error:
        print(error)
    else:
        break
    if not taken:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    del taken[-len(taken) // 4 :]
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print(np.array_equal(out, expected))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory by what Linux's /proc says is taken")
def test_memory_that_runs_out_is_an_error_and_no_end() -> None:
    """All that the process may have is taken, and given back little by little, until there is enough."""
    model = plain_model(spec_of(2, 4, 48)).SerializeToString()
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], input=model, capture_output=True, check=False)
    *failures, end = done.stdout.decode().splitlines()
    assert (end, done.returncode) == ("True", 0), done.stderr.decode()
    assert failures
    assert set(failures) == {"no memory even for a few rows of 2000 pixels; free some, or take a smaller model"}


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("onnx", "onnxruntime", "openvino")))
from repsr_deploy.cli.upscale import main
sys.exit(main(sys.argv[1:]))
"""


def test_no_other_package_is_needed(tmp_path: Path) -> None:
    """A bundled model, with `auto`, where neither onnx nor another runtime is installed."""
    from PIL import Image

    picture = photograph(40, 50)
    Image.fromarray(picture).save(tmp_path / "in.png")
    command = [
        sys.executable,
        "-c",
        WITHOUT,
        str(tmp_path / "in.png"),
        "-o",
        str(tmp_path / "out.png"),
        "-m",
        "photo-x2",
    ]
    done = subprocess.run([*command, "-v"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert b"native in " in done.stderr
    made = np.asarray(Image.open(tmp_path / "out.png"))
    exact = open_runtime(find_model("photo-x2"), "onnxruntime").run_images(picture[None])[0]
    assert made.shape == (80, 100, 3)
    assert np.abs(made.astype(int) - exact).mean() < 0.3
