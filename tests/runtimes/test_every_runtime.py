"""What every runtime owes: the same cases for each backend and precision of this machine."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
import torch
from onnx import numpy_helper

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import Candidate, Limits, Runtime, open_runtime
from repsr_deploy.runtimes.foreign import warn_once
from tests.runtimes.here import STORED, assert_same_pictures, every_case, every_runtime
from tests.runtimes.models import features_model, foreign, image_model, plain_model, spec_of

NEAR_DB: dict[tuple[Precision, Precision], float] = {
    ("fp32", "fp32"): 110, ("fp32", "fp16"): 55, ("fp32", "bf16"): 40,
    ("fp16", "fp32"): 50, ("fp16", "fp16"): 50, ("fp16", "bf16"): 40,
    ("bf16", "fp32"): 40, ("bf16", "bf16"): 34, ("int8", "int8"): 25,
}  # fmt: skip
"""PSNR, 20 log10(1 / rms), between a network of random weights in float64 and what is (stored, computed)."""


def opened(model: onnx.ModelProto, candidate: Candidate, threads: int | None = 1) -> Runtime:
    return open_runtime(model.SerializeToString(), candidate.runtime, threads=threads, precision=candidate.precision)


def batch(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape, np.float32)


def photograph(height: int = 61, width: int = 83) -> Any:
    return np.ascontiguousarray(skimage.data.astronaut()[30 : 30 + height, 170 : 170 + width])


def reference(model: onnx.ModelProto, x_nchw: Any, folder: Path) -> Any:
    """The network in float64, with PyTorch."""
    path = folder / "reference.onnx"
    path.write_bytes(model.SerializeToString())
    return evaluate(read_graph(path), {"input": torch.from_numpy(x_nchw).double()})["output"].numpy()


def decibels(actual: Any, expected: Any) -> float:
    return psnr(actual * 255, expected * 255)


@pytest.mark.parametrize(("stored", "candidate"), every_case())
@pytest.mark.parametrize(("scale", "colour", "shape"), [(2, "rgb", (2, 3, 19, 30)), (3, "y", (1, 1, 1, 40))])
def test_it_computes_the_network(
    stored: Precision, candidate: Candidate, scale: int, colour: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model = plain_model(spec_of(scale, 3, 8, colour), seed=scale)
    runtime = opened(STORED[stored](model), candidate)
    assert (runtime.name, runtime.precision, runtime.info.precision) == (candidate.runtime, candidate.precision, stored)
    assert (runtime.info.scale, runtime.info.halo, runtime.info.colour) == (scale, 5, colour)
    x_nchw = batch(*shape)
    expected = reference(model, x_nchw, tmp_path)
    actual = runtime.run(x_nchw)
    assert actual.dtype == np.float32
    assert expected.std() > 0.05  # a saturated network would agree with anything
    near = decibels(actual, expected)
    assert near > NEAR_DB[stored, candidate.precision], near
    assert decibels(actual, np.roll(expected, 1, axis=-1)) < 25  # the planted error: the bounds can fail


@pytest.mark.parametrize(("stored", "candidate"), every_case())
def test_images_are_the_batch_rounded_half_to_even(stored: Precision, candidate: Candidate) -> None:
    runtime = opened(STORED[stored](plain_model(spec_of(2, 2, 8))), candidate)
    images = np.stack([photograph(), photograph()[::-1, ::-1]])
    x_nchw = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    expected = np.rint(runtime.run(x_nchw) * np.float32(255)).astype(np.uint8).transpose(0, 2, 3, 1)
    actual = runtime.run_images(images)
    assert actual.dtype == np.uint8
    assert_same_pictures(actual, expected, exact=stored != "int8" and candidate.runtime != "native")


@pytest.mark.parametrize("name", every_runtime())
def test_every_level_of_8_bits_is_seen_exactly(name: str) -> None:
    """A network that gives back what it gets: OpenVINO's own division by 255 would be off for half of them."""
    spec = spec_of(1, 1, 8)
    model = plain_model(spec)
    for item in model.graph.initializer:
        if item.name.startswith(("head", "body", "tail")):
            item.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(item)), item.name))
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    runtime = open_runtime(model.SerializeToString(), name)
    np.testing.assert_array_equal(runtime.run_images(levels), levels)


@pytest.mark.parametrize(("stored", "candidate"), every_case("fp32", "int8"))
def test_io_image_is_the_network_on_bytes(stored: Precision, candidate: Candidate) -> None:
    model = STORED[stored](plain_model(spec_of(2, 2, 8)))
    floats, images = opened(model, candidate), opened(image_model(model), candidate)
    assert images.info.io == "image"
    picture = photograph()[None]
    made = images.run_images(picture)
    assert made.shape == (1, 122, 166, 3)
    # which of two levels a value half way between them becomes may differ: the division is the graph's own here
    assert np.abs(made.astype(int) - floats.run_images(picture)).max() <= (1 if stored == "fp32" else 8)
    assert (made != floats.run_images(picture)).mean() < (0.001 if stored == "fp32" else 0.1)
    x_nchw = np.ascontiguousarray(picture.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    through_floats = np.rint(images.run(x_nchw) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(through_floats, made)


@pytest.mark.parametrize("name", every_runtime())
def test_io_features_ends_before_the_shuffle(name: str, tmp_path: Path) -> None:
    model = plain_model(spec_of(3, 2, 8))
    x_nchw = batch(1, 3, 9, 14)
    features = open_runtime(features_model(model).SerializeToString(), name).run(x_nchw)
    assert features.shape == (1, 27, 9, 14)
    whole = features + np.repeat(x_nchw, 9, axis=1)
    shuffled = whole.reshape(1, 3, 3, 3, 9, 14).transpose(0, 1, 4, 2, 5, 3).reshape(1, 3, 27, 42).clip(0, 1)
    np.testing.assert_allclose(shuffled, reference(model, x_nchw, tmp_path), atol=2e-5)
    with pytest.raises(UsageError, match="gives features, not pictures; expected a model of io float or image"):
        open_runtime(features_model(model).SerializeToString(), name).run_images(photograph()[None])


@pytest.mark.parametrize(("stored", "candidate"), every_case())
def test_threads_that_call_at_once_get_their_own_results(stored: Precision, candidate: Candidate) -> None:
    runtime = opened(STORED[stored](plain_model(spec_of(2, 2, 8))), candidate, threads=2)
    jobs = [batch(1, 3, 20 + index % 5, 40 - index % 7, seed=index) for index in range(40)]
    expected = [runtime.run(job) for job in jobs]
    images = [np.rint(job.transpose(0, 2, 3, 1) * 255).astype(np.uint8) for job in jobs]
    expected_images = [runtime.run_images(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for actual, wanted in zip(pool.map(runtime.run, jobs), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)
        for actual, wanted in zip(pool.map(runtime.run_images, images), expected_images, strict=True):
            np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("name", every_runtime())
def test_results_stay_when_more_is_run(name: str) -> None:
    """No output lies in memory that the next run writes to, and no input is written to."""
    runtime = open_runtime(plain_model(spec_of()).SerializeToString(), name)
    x_nchw = batch(1, 3, 16, 16)
    kept_input, first = x_nchw.copy(), runtime.run(x_nchw)
    kept = first.copy()
    runtime.run(batch(1, 3, 16, 16, seed=1))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x_nchw, kept_input)
    first[...] = 0  # the caller's own
    np.testing.assert_array_equal(runtime.run(x_nchw), kept)


@pytest.mark.parametrize("name", every_runtime())
def test_a_batch_need_not_be_contiguous(name: str) -> None:
    runtime = open_runtime(plain_model(spec_of()).SerializeToString(), name)
    x_nchw = batch(1, 9, 8, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(runtime.run(x_nchw), runtime.run(np.ascontiguousarray(x_nchw)))
    images = photograph()[None, ::-1, ::2]
    np.testing.assert_array_equal(runtime.run_images(images), runtime.run_images(images.copy()))


@pytest.mark.parametrize("name", every_runtime())
def test_memory_may_be_for_reading_only(name: str) -> None:
    runtime = open_runtime(plain_model(spec_of()).SerializeToString(), name)
    image_nhwc, x_nchw = photograph()[None], batch(1, 3, 9, 11)
    expected = runtime.run_images(image_nhwc), runtime.run(x_nchw)
    image_nhwc.flags.writeable = x_nchw.flags.writeable = False
    np.testing.assert_array_equal(runtime.run_images(image_nhwc), expected[0])
    np.testing.assert_array_equal(runtime.run(x_nchw), expected[1])


@pytest.mark.parametrize("name", every_runtime())
def test_weights_in_a_file_of_their_own(name: str, tmp_path: Path) -> None:
    model = plain_model(spec_of())
    expected = open_runtime(model.SerializeToString(), name).run(batch(1, 3, 12, 9))
    folder = tmp_path / "größe [1]"
    folder.mkdir()
    path = folder / "modèle.onnx"
    onnx.save(model, path, save_as_external_data=True, location="modèle.data", size_threshold=0)
    np.testing.assert_allclose(open_runtime(path, name).run(batch(1, 3, 12, 9)), expected, atol=2e-6)
    (folder / "modèle.data").unlink()
    with pytest.raises(ModelFileError, match=r"expected an .onnx"):
        open_runtime(path, name)


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize(("scale", "blocks", "colour"), [(1, 1, "rgb"), (2, 3, "rgb"), (3, 1, "y"), (4, 2, "rgb")])
def test_a_foreign_file_is_derived_and_said_so(
    name: str, scale: int, blocks: int, colour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(scale=scale, blocks=blocks, colour=colour, channels=11)
    warn_once.cache_clear()
    model = foreign(plain_model(spec))
    for _ in range(2):
        info = open_runtime(model, name).info
        width = max(11, spec.colours * scale**2)
        assert (info.scale, info.halo, info.colour, info.width) == (scale, spec.halo, colour, width)
    assert caplog.text.count(f"derived scale {scale}, halo {spec.halo}") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, 8, 8), np.float32),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 3, 8, 8), np.float64),
        np.zeros((1, 3, 8, 8), np.uint8),
        np.zeros((1, 3, 0, 8), np.float32),
    ],
)
@pytest.mark.parametrize("name", every_runtime())
def test_a_wrong_batch(name: str, wrong: Any) -> None:
    runtime = open_runtime(plain_model(spec_of()).SerializeToString(), name)
    with pytest.raises(UsageError, match="expect"):
        runtime.run(wrong)
    with pytest.raises(UsageError, match="expect"):
        runtime.run_images(wrong)


@pytest.mark.parametrize("name", every_runtime())
def test_a_scale_that_is_not_the_model_s(name: str) -> None:
    model = plain_model(spec_of())
    for entry in model.metadata_props:
        if entry.key == "repsr.scale":
            entry.value = "3"
    for run, wrong in (("run", batch(1, 3, 8, 8)), ("run_images", photograph()[None])):
        with pytest.raises(ModelFileError, match="the model says scale 3"):
            getattr(open_runtime(model.SerializeToString(), name), run)(wrong)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", every_runtime())
def test_broken_weights_are_no_black_picture(name: str, value: float) -> None:
    model = plain_model(spec_of())
    item = next(item for item in model.graph.initializer if item.name == "body.1.weight")
    array = numpy_helper.to_array(item).copy()
    array.flat[0] = value
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    with pytest.raises(ModelFileError, match=r"weights are broken|with NaN or infinity"):
        open_runtime(model.SerializeToString(), name).run_images(photograph()[None])


@pytest.mark.parametrize(("stored", "candidate"), every_case())
def test_a_precision_that_it_does_not_compute(stored: Precision, candidate: Candidate) -> None:
    model = STORED[stored](plain_model(spec_of())).SerializeToString()
    with pytest.raises(RuntimeUnavailableError, match=f"a {stored} model, in .*{candidate.precision}.*, not in"):
        open_runtime(model, candidate.runtime, precision="int8" if stored != "int8" else "fp16")


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize("what", ["empty", "text", "truncated", "foreign of fixed size", "half precision"])
def test_not_a_model(name: str, what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if name == "native" and what in ("foreign of fixed size", "half precision"):
        pytest.skip("it takes the network, whatever shape and type the file has for pictures (test_native)")
    whole = plain_model(spec_of())
    if what == "foreign of fixed size":
        fix_shape(whole, (1, 64, 64))
        del whole.metadata_props[:]
    if what == "half precision":
        for value in (whole.graph.input[0], whole.graph.output[0]):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        for item in whole.graph.initializer:
            array = numpy_helper.to_array(item)
            if array.dtype == np.float32:
                item.CopyFrom(numpy_helper.from_array(array.astype(np.float16), item.name))
    data = whole.SerializeToString()
    data = {"empty": b"", "text": b"no model at all\n" * 9, "truncated": data[: len(data) // 2]}.get(what, data)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for model in (data, path):
        with pytest.raises(ModelFileError, match="expected"):
            open_runtime(model, name)
    assert capfd.readouterr().err == ""


def fix_shape(model: onnx.ModelProto, sides: tuple[int, int, int]) -> None:
    for value, scale in ((model.graph.input[0], 1), (model.graph.output[0], 2)):
        for axis, side in zip((0, 2, 3), (sides[0], sides[1] * scale, sides[2] * scale), strict=True):
            value.type.tensor_type.shape.dim[axis].dim_value = side


@pytest.mark.parametrize("name", every_runtime())
def test_a_model_of_one_shape_takes_no_other_and_pictures_in_tiles(name: str) -> None:
    if name == "native":
        pytest.skip("it takes pictures of any shape (test_native)")
    model = plain_model(spec_of())
    whole = Upscaler(open_runtime(model.SerializeToString(), name, precision="fp32"))
    fix_shape(model, (1, 40, 48))
    runtime = open_runtime(model.SerializeToString(), name, precision="fp32")
    assert runtime.limits == Limits(count=(1, 1), height=(40, 40), width=(48, 48))
    with pytest.raises(UsageError, match="built for height 40 to 40, not 41"):
        runtime.run(np.zeros((1, 3, 41, 48), np.float32))
    image_hwc = photograph(97, 131)
    np.testing.assert_array_equal(Upscaler(runtime).upscale(image_hwc), whole.upscale(image_hwc))
    with pytest.raises(UsageError, match="built for"):
        Upscaler(runtime).upscale(image_hwc[:39])


@pytest.mark.parametrize("name", every_runtime())
def test_files_that_are_no_model(name: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.safetensors"
    checkpoint.write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"repsr-fuse export .*net\.safetensors --out net\.onnx"):
        open_runtime(checkpoint, name)
    with pytest.raises(ModelFileError, match="is a folder"):
        open_runtime(tmp_path, name)
    with pytest.raises(ModelFileError, match="does not exist"):
        open_runtime(tmp_path / "none.onnx", name)


OUT_OF_MEMORY = """
import resource, sys
import numpy as np
from repsr_deploy.runtimes import open_runtime

runtime = open_runtime(sys.stdin.buffer.read(), sys.argv[1], threads=int(sys.argv[2]))
random = np.random.default_rng(0)
large, images = random.random((1, 3, 1200, 1200), np.float32), random.integers(0, 256, (1, 1200, 1200, 3), np.uint8)
runs = [(runtime.run, large), (runtime.run_images, images)]
expected = [run(batch[..., :64, :64, :]) for run, batch in runs]
for limit in (70, 120, 250, 500):
    with open("/proc/self/statm") as statm:
        taken_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    for run, batch in runs:
        resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + limit * 10**6, -1))
        try:
            run(batch)
        except MemoryError:
            print("MemoryError", end=" ")
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        print(all(map(np.array_equal, [run(batch[..., :64, :64, :]) for run, batch in runs], expected)))
print("end")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory by what Linux's /proc says is taken")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_memory_that_runs_out_is_an_error_and_no_end(name: str, threads: int) -> None:
    """Not a wrong picture either, then or later. With more and more memory another part is the first that lacks it."""
    model = plain_model(spec_of(2, 1, 16)).SerializeToString()
    command = [sys.executable, "-c", OUT_OF_MEMORY, name, str(threads)]
    done = subprocess.run(command, input=model, capture_output=True, check=False, timeout=120)
    *lines, end = done.stdout.decode().splitlines()
    assert end == "end", done.stderr.decode()
    assert done.returncode == 0
    assert set(lines) <= {"True", "MemoryError True"}
    assert lines.count("MemoryError True") >= 3
