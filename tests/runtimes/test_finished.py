"""Pictures out of features: those of the same network that finishes them itself."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from onnx import numpy_helper

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import Candidate, Limits, Runtime, open_runtime
from repsr_deploy.runtimes import finished as finishing
from repsr_deploy.runtimes.base import CheckedRuntime, OnDevice
from repsr_deploy.runtimes.finished import finished
from repsr_kernels import cpu
from repsr_kernels.reference.upsample import summed
from tests.runtimes.here import STORED, assert_same_pictures, every_case, every_runtime
from tests.runtimes.models import features_model, plain_model, spec_of, with_info


def features_of(name: str = "onnxruntime", scale: int = 2, colour: Any = "rgb", **changes: Any) -> Runtime:
    model = with_info(features_model(plain_model(spec_of(scale, 2, 8, colour), seed=scale)), **changes)
    return open_runtime(model.SerializeToString(), name, threads=1, precision="fp32")


def photographs(colours: int = 3) -> Any:
    image = skimage.data.astronaut()[30:91, 170:253, :colours]
    return np.stack([image, image[::-1, ::-1]])


def as_batch(images_nhwc: Any) -> Any:
    return np.ascontiguousarray(images_nhwc.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def as_images(batch_nchw: Any) -> Any:
    return np.rint(batch_nchw * np.float32(255)).astype(np.uint8).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("skip", ["none", "nearest", "bilinear"])
@pytest.mark.parametrize(("scale", "colour"), [(1, "rgb"), (2, "y"), (3, "rgb"), (4, "rgb")])
def test_they_are_finished_as_the_reference_does(scale: int, colour: Any, skip: Any) -> None:
    runtime = features_of(scale=scale, colour=colour, skip=skip)
    images = photographs(3 if colour == "rgb" else 1)
    batch = as_batch(images)
    expected = np.clip(summed(runtime.run(batch), batch, scale, skip), 0, 1)
    whole = finished(runtime, threads=1)
    made = whole.run(batch)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-7 if skip == "bilinear" else 0)
    np.testing.assert_array_equal(whole.run_images(images), as_images(made))
    assert expected.std() > 0.02  # a saturated picture would agree with anything


@pytest.mark.parametrize("name", every_runtime())
def test_pictures_are_those_of_io_float(name: str) -> None:
    model = plain_model(spec_of(2, 2, 8), seed=2)
    expected = open_runtime(model.SerializeToString(), name, threads=1, precision="fp32")
    runtime = finished(features_of(name), threads=1)
    made = runtime.run_images(photographs())
    assert_same_pictures(made, expected.run_images(photographs()), exact=name != "native")
    np.testing.assert_array_equal(runtime.run(as_batch(photographs())), expected.run(as_batch(photographs())))


@pytest.mark.parametrize(("stored", "candidate"), every_case())
def test_every_precision(stored: Precision, candidate: Candidate) -> None:
    model = features_model(plain_model(spec_of(2, 2, 8)))
    data = STORED[stored](model).SerializeToString()
    runtime = open_runtime(data, candidate.runtime, threads=1, precision=candidate.precision)
    whole = finished(runtime, threads=1)
    assert (whole.name, whole.precision, whole.native_images) == (candidate.runtime, candidate.precision, True)
    assert (whole.info.io, whole.info.skip, whole.info.precision) == ("float", "none", stored)
    batch = as_batch(photographs())
    expected = np.clip(summed(runtime.run(batch), batch, 2, "nearest"), 0, 1)
    np.testing.assert_array_equal(whole.run(batch), expected)
    np.testing.assert_array_equal(whole.run_images(photographs()), as_images(expected))


def test_other_models_are_left_alone() -> None:
    runtime = open_runtime(plain_model(spec_of()).SerializeToString(), "onnxruntime")
    assert finished(runtime) is runtime


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_weights_are_not_hidden(value: float) -> None:
    """The clamp would make a black or a white pixel of it."""
    model = features_model(plain_model(spec_of()))
    item = next(item for item in model.graph.initializer if item.name == "tail.bias")
    array = numpy_helper.to_array(item).copy()
    array[5] = value  # of twelve
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    runtime = finished(open_runtime(model.SerializeToString(), "onnxruntime"))
    for run, batch in ((runtime.run, as_batch(photographs())), (runtime.run_images, photographs())):
        with pytest.raises(ModelFileError, match=r"gives NaN or infinity in 10126 values of this image; its weights"):
            run(batch)


def test_shapes_and_types_are_checked() -> None:
    runtime = finished(features_of())
    with pytest.raises(UsageError, match="expects uint8, N x H x W x 3"):
        runtime.run_images(as_batch(photographs()))
    with pytest.raises(UsageError, match="expects float32, N x 3 x H x W"):
        runtime.run(photographs())


class _Engine(CheckedRuntime):
    """A real runtime that takes certain shapes only, as an engine does."""

    def __init__(self, limits: Limits) -> None:
        self._runtime = features_of()
        self.name, self.info, self.precision = self._runtime.name, self._runtime.info, self._runtime.precision
        self.limits = limits

    def _run(self, batch: Any) -> Any:
        return self._runtime.run(batch)


def test_limits_stay() -> None:
    runtime = finished(_Engine(Limits(count=(1, 1), height=(4, 60), width=(4, 90))))
    with pytest.raises(UsageError, match="images 1 to 1, not 2"):
        runtime.run_images(photographs())
    assert runtime.limits == Limits(count=(1, 1), height=(4, 60), width=(4, 90))


def test_what_no_kernel_finishes() -> None:
    with pytest.raises(ModelFileError, match=r"works on values in \(0.0, 255.0\)"):
        finished(features_of(range=(0.0, 255.0)))
    large = features_of(scale=4)
    large.info = replace(large.info, scale=8)
    with pytest.raises(ModelFileError, match=r"features at scale 8, and kernels finish 1, 2, 3, 4; .* --io float"):
        finished(large)


def test_runtimes_of_processors_have_no_device_network() -> None:
    assert not isinstance(features_of(), OnDevice)


@pytest.fixture
def forgotten() -> Generator[None]:
    """Nothing is known about what can be compiled, before and after."""
    caches = finishing._is_compiled, cpu.library  # pyright: ignore[reportPrivateUsage]
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_without_a_compiler_numpy_makes_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    runtime = finished(features_of(skip="bilinear"))
    with caplog.at_level(logging.WARNING):
        made, images = runtime.run(as_batch(photographs())), runtime.run_images(photographs())
    assert [record.getMessage() for record in caplog.records] == [
        "features are finished in NumPy, which takes many times as long: CXX names 'no-such-compiler', which is no "
        "program here; expected a C++ compiler"
    ]
    monkeypatch.delenv("CXX")
    finishing._is_compiled.cache_clear()  # pyright: ignore[reportPrivateUsage]
    caplog.clear()
    assert runtime.run(as_batch(photographs())).tobytes() == made.tobytes()
    np.testing.assert_array_equal(runtime.run_images(photographs()), images)
    assert caplog.records == []
