"""Networks from Python: arrays of every layout that can be said, refusals, lifetimes, threads."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import repsr_deploy
from repsr_kernels.cpu import shared_library
from repsr_kernels.cpu.network import Model, Network, Work, instruction_sets, peak_macs_per_s, precisions
from repsr_kernels.errors import ModelFileError, NotPlainError, RuntimeUnavailableError, UsageError

WEIGHTS = Path(repsr_deploy.__file__).parent / "weights" / "photo-x2.onnx"
CONTENT = WEIGHTS.read_bytes()
HEIGHT, WIDTH = 13, 21
rng = np.random.default_rng(9)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(CONTENT)


@pytest.fixture(scope="module")
def network(model: Model) -> Network:
    return Network(model)


def image(height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def enlarged(network: Network, image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = image_hwc.shape
    out = np.empty((2 * height, 2 * width, 3), np.uint8)
    network.upscale_images(image_hwc, out)
    return out


def planes_of(image_hwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image_hwc.transpose(2, 0, 1), np.float32) / np.float32(255)


def test_what_a_model_says(model: Model) -> None:
    told = model.description
    assert (told.colours, told.scale, told.layers, told.channels) == (3, 2, 6, 16)
    assert (told.int8_layers, told.skip, told.io, told.clamps) == (0, "nearest", "float", True)
    assert told.macs_per_pixel == 9 * (3 * 16 + 4 * 16 * 16 + 16 * 12)
    assert model.properties["repsr.name"] == '"Plain-M4C16"'
    assert list(model.properties)[-1] == "repsr.history"


def test_images_and_planes_and_features_agree(network: Network) -> None:
    """The three ways are one network: what it adds to the picture, and that, shuffled and rounded."""
    image_hwc = image()
    planes, features = np.empty((3, 2 * HEIGHT, 2 * WIDTH), np.float32), np.empty((12, HEIGHT, WIDTH), np.float32)
    image_chw = planes_of(image_hwc)
    network.upscale_planes(image_chw, planes)
    network.features(image_chw, features)
    shuffled = features.reshape(3, 2, 2, HEIGHT, WIDTH).transpose(0, 3, 1, 4, 2).reshape(planes.shape)
    expected = shuffled + image_chw.repeat(2, axis=1).repeat(2, axis=2)
    assert np.abs(np.clip(expected, 0, 1) - planes).max() < 1e-6
    assert np.ptp(shuffled) > 0.1
    levels = enlarged(network, image_hwc).transpose(2, 0, 1).astype(float)
    assert np.abs(levels - 255.0 * planes).max() < 0.501


ImageLayout = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
IMAGE_LAYOUTS: dict[str, ImageLayout] = {
    "dense": lambda image: image.copy(),
    "columns of a wider one": lambda image: np.pad(image, ((0, 0), (3, 2), (0, 0)))[:, 3:-2],
    "every second row": lambda image: image.repeat(2, axis=0)[::2],
    "at an odd address": lambda image: np.concatenate([[0], image.ravel()]).astype(np.uint8)[1:].reshape(image.shape),
}
PLANE_LAYOUTS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "dense": lambda image: image.copy(),
    "a part of larger planes": lambda image: np.pad(image, ((0, 0), (1, 2), (3, 4)))[:, 1:-2, 3:-4],
    "every second plane": lambda image: image.repeat(2, axis=0)[::2],
    "rows of planes in turns": lambda image: np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2),
}


@pytest.mark.parametrize("name", IMAGE_LAYOUTS)
def test_images_of_any_pitch(name: str, network: Network) -> None:
    image_hwc = image()
    out = IMAGE_LAYOUTS[name](np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8))
    around = out.base if out.base is not None else out
    network.upscale_images(IMAGE_LAYOUTS[name](image_hwc), out)
    assert np.array_equal(out, enlarged(network, image_hwc))
    inside = np.count_nonzero(out)
    assert np.count_nonzero(around) == inside  # nothing is written between the rows


@pytest.mark.parametrize("name", PLANE_LAYOUTS)
def test_planes_of_any_pitch(name: str, network: Network) -> None:
    image_chw = planes_of(image())
    expected = np.empty((3, 2 * HEIGHT, 2 * WIDTH), np.float32)
    network.upscale_planes(image_chw, expected)
    out = PLANE_LAYOUTS[name](np.zeros_like(expected))
    network.upscale_planes(PLANE_LAYOUTS[name](image_chw), out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1)])
def test_strides_of_single_rows_and_columns_say_nothing(height: int, width: int, network: Network) -> None:
    image_hwc = image(height, width)
    strange = np.lib.stride_tricks.as_strided(
        image_hwc,
        strides=[-7 if size == 1 else stride for size, stride in zip(image_hwc.shape, image_hwc.strides, strict=True)],
    )
    assert np.array_equal(enlarged(network, strange), enlarged(network, image_hwc))
    image_chw, out = planes_of(image_hwc), np.empty((3, 2 * height, 2 * width), np.float32)
    network.upscale_planes(image_chw, out)
    expected = out.copy()
    strange_chw = np.lib.stride_tricks.as_strided(
        image_chw,
        strides=[-8 if size == 1 else stride for size, stride in zip(image_chw.shape, image_chw.strides, strict=True)],
    )
    network.upscale_planes(strange_chw, out)
    assert np.array_equal(out, expected)


def test_no_work_that_is_split_otherwise_changes_a_bit(network: Network) -> None:
    image_hwc = image()
    expected = enlarged(network, image_hwc)
    for work in (Work(threads=3, strip_rows=2, block_columns=16), Work(threads=1), Work(rows=None, strip_rows=5)):
        out = np.zeros_like(expected)
        network.upscale_images(image_hwc, out, **work)
        assert np.array_equal(out, expected), work


def test_rows_are_those_of_the_whole(network: Network) -> None:
    image_hwc = image()
    expected = enlarged(network, image_hwc)
    out = np.zeros((2 * 4, 2 * WIDTH, 3), np.uint8)
    network.upscale_images(image_hwc, out, rows=(5, 9))
    assert np.array_equal(out, expected[10:18])


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def misaligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    size = 4 * int(np.prod(shape))
    return np.zeros(size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


IMAGE, OUT = np.zeros((4, 5, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)
PLANES, OUT_PLANES = np.zeros((3, 4, 5), np.float32), np.zeros((3, 8, 10), np.float32)
SHARED = np.zeros((8, 10, 3), np.uint8)


@pytest.mark.parametrize(
    ("image_hwc", "out_hwc", "message"),
    [
        (IMAGE.astype(np.float32), OUT, "image is of type float32; expected uint8"),
        (IMAGE, OUT.astype(np.int8), "out is of type int8; expected uint8"),
        (IMAGE[..., 0], OUT, r"image has shape \(4, 5\); expected H x W x C, each 1 or more"),
        (IMAGE[:0], OUT, r"image has shape \(0, 5, 3\); expected H x W x C, each 1 or more"),
        (IMAGE[..., :1], OUT, r"image has strides \(15, 3, 1\); expected \(5 or more, 1, 1\)"),
        (np.zeros((4, 5, 1), np.uint8), OUT, r"image has 1 channels of 4 x 5 \(height x width\); expected 3 of 4 x 5"),
        (IMAGE, OUT[:-1].copy(), r"out has 3 channels of 7 x 10 \(height x width\); expected 3 of 8 x 10"),
        (IMAGE, OUT[:, :-1].copy(), "out has 3 channels of 8 x 9 .*; expected 3 of 8 x 10"),
        (IMAGE[:, :, ::-1], OUT, r"image has strides \(15, 3, -1\); expected \(15 or more, 3, 1\): pass np.ascontig"),
        (IMAGE[:, ::-1], OUT, r"image has strides \(15, -3, 1\)"),
        (IMAGE[::-1], OUT, r"image has strides \(-15, 3, 1\)"),
        (np.zeros((4, 10, 3), np.uint8)[:, ::2], OUT, r"image has strides \(30, 6, 1\)"),
        (np.broadcast_to(IMAGE[:1], IMAGE.shape), OUT, r"image has strides \(0, 3, 1\)"),
        (IMAGE, OUT.transpose(1, 0, 2).copy().transpose(1, 0, 2), r"out has strides \(3, 24, 1\)"),
        (IMAGE, read_only(OUT.copy()), "out is read-only; expected an array to write to"),
        (SHARED[:4, :5], SHARED, "overlap"),
    ],
)
def test_images_that_are_refused(
    image_hwc: NDArray[Any], out_hwc: NDArray[Any], message: str, network: Network
) -> None:
    with pytest.raises(UsageError, match=message):
        network.upscale_images(image_hwc, out_hwc)
    assert not out_hwc.any()


@pytest.mark.parametrize(
    ("image_chw", "out_chw", "message"),
    [
        (PLANES.astype(np.float64), OUT_PLANES, "image is of type float64; expected float32"),
        (PLANES.astype(">f4"), OUT_PLANES, "image is of type >f4; expected float32"),
        (PLANES, OUT_PLANES[None], r"out has shape \(1, 3, 8, 10\); expected C x H x W"),
        (misaligned((3, 4, 5)), OUT_PLANES, "image begins at an address that is no multiple of 4"),
        (PLANES.transpose(0, 2, 1).copy().transpose(0, 2, 1), OUT_PLANES, r"image has strides \(80, 4, 16\)"),
        (PLANES[::-1], OUT_PLANES, r"image has strides \(-80, 20, 4\); expected \(20 or more, 20 or more, 4\)"),
        (np.broadcast_to(PLANES[:1], PLANES.shape), OUT_PLANES, r"image has strides \(0, 20, 4\)"),
        (PLANES, read_only(OUT_PLANES.copy()), "out is read-only"),
        (PLANES, np.zeros((12, 4, 5), np.float32), r"out has 12 channels of 4 x 5 .*; expected 3 of 8 x 10"),
        (OUT_PLANES[:, :4, :5], OUT_PLANES, "overlap"),
    ],
)
def test_planes_that_are_refused(
    image_chw: NDArray[Any], out_chw: NDArray[Any], message: str, network: Network
) -> None:
    with pytest.raises(UsageError, match=message):
        network.upscale_planes(image_chw, out_chw)
    assert not out_chw.any()


def test_features_have_their_own_shape(network: Network) -> None:
    with pytest.raises(UsageError, match=r"out has 3 channels of 8 x 10 .*; expected 12 of 4 x 5"):
        network.features(PLANES, OUT_PLANES)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (Work(threads=0), "threads is 0; expected 1 or more"),
        (Work(threads=2**32 + 1), r"threads is 4294967297; expected 1 or more, less than 2\^31"),
        (Work(strip_rows=-1), "strip_rows is -1; expected 0 or more"),
        (Work(block_columns=2**31), "block_columns is 2147483648; expected 0 or more"),
        (Work(rows=(2, 2)), "rows are 2 to 2; expected one or more of 0 to 4"),
        (Work(rows=(0, 0)), "rows are 0 to 0; expected one or more"),
        (Work(rows=(-1, 2)), "rows are -1 to 2; expected"),
        (Work(rows=(3, 5)), "rows are 3 to 5; expected one or more of 0 to 4"),
    ],
)
def test_work_that_makes_no_sense(work: Work, message: str, network: Network) -> None:
    with pytest.raises(UsageError, match=message):
        network.upscale_images(IMAGE, OUT, **work)


@pytest.mark.parametrize("content", [b"", b"no model", CONTENT[:-1000], CONTENT[: len(CONTENT) // 2]])
def test_a_damaged_model(content: bytes) -> None:
    with pytest.raises(ModelFileError):
        Model(content)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (shared_library.BAD_MODEL, ModelFileError),
        (shared_library.NOT_PLAIN, NotPlainError),
        (shared_library.BAD_ARGUMENT, UsageError),
        (shared_library.UNSUPPORTED, RuntimeUnavailableError),
        (shared_library.OUT_OF_MEMORY, MemoryError),
        (shared_library.NOT_FINITE, ModelFileError),
    ],
)
def test_every_status_is_an_exception_that_says_why(status: int, expected: type[Exception]) -> None:
    def function(message: Any) -> int:
        message._obj.text = "because \u00e9".encode()[:-1]  # cut off within a character
        return status

    with pytest.raises(expected, match=re.escape("because \ufffd")) as caught:
        shared_library.call(function)
    assert caught.type is expected


def test_a_network_needs_its_model_no_longer() -> None:
    model = Model(CONTENT)
    network = Network(model)
    expected = enlarged(network, IMAGE)
    del model
    gc.collect()
    assert np.array_equal(enlarged(network, IMAGE), expected)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_what_is_dropped_is_given_back() -> None:
    model = Model(CONTENT)
    for _ in range(20):
        Network(model)
    before = resident_bytes()
    kept = [(Model(CONTENT), Network(model)) for _ in range(300)]
    taken = resident_bytes() - before
    assert taken > 2**22
    del kept
    for _ in range(900):
        _ = Model(CONTENT), Network(model)
    assert resident_bytes() - before < 1.5 * taken


def test_a_forked_process_has_threads_of_its_own() -> None:
    """Those of its parent stay behind, whatever they were doing."""
    code = f"""
import os, signal
import numpy as np
from repsr_kernels.cpu.network import Model, Network
network = Network(Model(open({str(WEIGHTS)!r}, "rb").read()))
image_hwc = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
made = [np.empty((400, 600, 3), np.uint8) for _ in range(2)]
network.upscale_images(image_hwc, made[0], threads=4)
child = os.fork()
if not child:
    signal.alarm(20)
    network.upscale_images(image_hwc, made[1], threads=4)
    os._exit(not np.array_equal(*made))
raise SystemExit(os.waitpid(child, 0)[1])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_many_threads_use_one_network(network: Network) -> None:
    images = [image(10 + number, 30 - number) for number in range(8)]
    expected = [enlarged(network, each) for each in images]

    def several(each: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        return [enlarged(network, each) for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(several, images))
    assert all(np.array_equal(each, right) for same, right in zip(found, expected, strict=True) for each in same)


def test_other_threads_of_python_go_on(network: Network) -> None:
    image_hwc, out = image(300, 400), np.empty((600, 800, 3), np.uint8)
    running = threading.Thread(target=lambda: network.upscale_images(image_hwc, out, threads=1))
    count = 0
    running.start()
    while running.is_alive():
        count += 1
    running.join()
    assert count > 100


def test_instruction_sets_from_slow_to_fast(model: Model) -> None:
    there = instruction_sets()
    assert next(iter(there)) == "portable"
    assert there["portable"] == ("fp32", "int8")
    assert set(precisions()) == {each for computes in there.values() for each in computes}
    fastest = [name for name, computes in there.items() if "fp32" in computes][-1]
    assert Network(model).instruction_set == fastest
    for name in there:
        chosen = Network(model, instruction_set=name)
        assert chosen.instruction_set == name
        assert chosen.precision == "fp32"


def test_the_environment_names_the_instruction_set(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", "portable")
    assert Network(model).instruction_set == "portable"
    *_, fastest = instruction_sets()
    assert Network(model, instruction_set=fastest).instruction_set == fastest
    with pytest.raises(
        RuntimeUnavailableError, match="REPSR_INSTRUCTION_SET is 'portable', which does not compute in bf16"
    ):
        Network(model, "bf16")
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", "sse9")
    there = ", ".join(instruction_sets())
    said = "REPSR_INSTRUCTION_SET is 'sse9', which this processor or this library does not have; expected one of "
    with pytest.raises(RuntimeUnavailableError, match=said + there):
        Network(model)
    monkeypatch.setenv("REPSR_INSTRUCTION_SET", "")
    assert Network(model).instruction_set == fastest


def test_an_instruction_set_that_is_not_here(model: Model) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"the instruction set is 'AVX2', .*; expected one of portable"):
        Network(model, instruction_set="AVX2")
    with pytest.raises(RuntimeUnavailableError, match="does not compute in bf16; "):
        peak_macs_per_s("portable", "bf16", threads=1, seconds=0.01)


def test_a_precision_that_there_is_not(model: Model) -> None:
    with pytest.raises(UsageError, match="precision is 'fp8'; expected one of fp32, bf16, int8"):
        Network(model, "fp8")  # pyright: ignore[reportArgumentType]
    with pytest.raises(RuntimeUnavailableError, match="int8"):
        Network(model, "int8")  # the model has no int8 layers


def test_the_peak() -> None:
    assert 1e6 < peak_macs_per_s("portable", "fp32", threads=1, seconds=0.01) < 1e13
    for threads, seconds in ((0, 0.01), (1, 0.0), (1, float("nan")), (1, -1.0)):
        with pytest.raises(UsageError, match="threads is 0" if threads == 0 else "seconds is"):
            peak_macs_per_s("portable", "fp32", threads=threads, seconds=seconds)
