"""Engines on a GPU, against ONNX Runtime. Not yet run: no machine of ours has one."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError, UsageError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelIo, Precision
from repsr_deploy.runtimes.base import WholePictures
from repsr_deploy.runtimes.finished import FinishedFeatures, finished
from repsr_deploy.runtimes.onnxruntime import OnnxRuntime
from repsr_deploy.runtimes.tensorrt import BuildOptions, Flavour, Shapes, open_tensorrt, why_unavailable
from repsr_deploy.runtimes.tensorrt.build import build_engine
from repsr_deploy.runtimes.tensorrt.cache import cached_engine
from tests.runtimes.tensorrt.models import write_model

pytestmark = pytest.mark.gpu

OPTIONS = BuildOptions(shapes=Shapes.parse("1x3x5x7:2x3x36x64:4x3x108x192"))
TOLERANCE: dict[Precision, float] = {"fp32": 2e-6, "fp16": 4e-3, "bf16": 3e-2, "int8": 5e-2}
"""Largest difference to fp32 that the types allow, of a range of 1."""


@pytest.fixture(params=get_args(Flavour))
def flavour(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Flavour:
    reason = why_unavailable(request.param)
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))
    return request.param


def batch(io: ModelIo, count: int, height: int, width: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    if io == "image":
        return random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return random.random((count, 3, height, width), dtype=np.float32)


@pytest.mark.parametrize("io", get_args(ModelIo))
@pytest.mark.parametrize("precision", get_args(Precision))
def test_output(flavour: Flavour, precision: Precision, io: ModelIo, tmp_path: Path) -> None:
    exact = OnnxRuntime(write_model(tmp_path, "fp32", io))
    engine = open_tensorrt(write_model(tmp_path, precision, io), flavour, options=OPTIONS)
    assert engine.limits == OPTIONS.shapes.limits
    for seed, shape in enumerate([(2, 36, 64), (1, 5, 7), (4, 108, 192), (2, 36, 64), (2, 36, 64), (3, 17, 23)]):
        images = batch(io, *shape, seed=seed)
        run, reference = (
            (item.run_images, exact.run_images) if io == "image" else (item.run, exact.run) for item in (engine, exact)
        )
        made, expected = run[0](images), reference[1](images)
        unit = 255 if io == "image" else 1
        difference = np.abs(made.astype(np.float64) - expected.astype(np.float64)).max() / unit
        assert difference <= TOLERANCE[precision] + (1 / 255 if io == "image" else 0)


def test_threads_get_their_own_results(flavour: Flavour, tmp_path: Path) -> None:
    engine = open_tensorrt(write_model(tmp_path, "fp16"), flavour, options=OPTIONS)
    images = [batch("float", 1, 30 + 7 * index, 64, seed=index) for index in range(4)]
    expected = [engine.run(image) for image in images]
    failures: list[int] = []

    def work(index: int) -> None:
        for _ in range(20):
            if not np.array_equal(engine.run(images[index]), expected[index]):
                failures.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_outside_the_profile(flavour: Flavour, tmp_path: Path) -> None:
    engine = open_tensorrt(write_model(tmp_path), flavour, options=OPTIONS)
    with pytest.raises(UsageError, match="built for height 5 to 108, not 109"):
        engine.run(batch("float", 1, 109, 64))


def test_a_file_and_the_cache(flavour: Flavour, tmp_path: Path) -> None:
    model, image = write_model(tmp_path), batch("float", 1, 36, 64)
    built = build_engine(model, tmp_path / "made.engine", flavour=flavour, options=OPTIONS)
    from_file = open_tensorrt(built.path, flavour).run(image)
    from_model = open_tensorrt(model, flavour, options=OPTIONS).run(image)
    assert cached_engine(model, flavour=flavour, options=OPTIONS).reused
    assert np.abs(from_file - from_model).max() < 2e-6
    with pytest.raises(UsageError, match="is built already"):
        open_tensorrt(built.path, flavour, options=OPTIONS)
    with pytest.raises(RuntimeUnavailableError, match="not in fp16"):
        open_tensorrt(model, flavour, precision="fp16")
    built.path.write_bytes(built.path.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="is cut short"):
        open_tensorrt(built.path, flavour)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_pictures_of_features(flavour: Flavour, precision: Precision, tmp_path: Path) -> None:
    """Finished where they are, and as the features that come to the host are."""
    engine = open_tensorrt(write_model(tmp_path, precision, "features"), flavour, options=OPTIONS)
    whole, on_host = finished(engine), FinishedFeatures(engine, None)
    assert isinstance(whole, WholePictures)
    for seed, shape in enumerate([(2, 36, 64), (1, 5, 7), (4, 108, 192), (2, 36, 64), (2, 36, 64), (2, 36, 64)]):
        images = batch("image", *shape, seed=seed)
        np.testing.assert_array_equal(whole.run_images(images), on_host.run_images(images))
    image = batch("image", 1, 250, 401)[0]
    np.testing.assert_array_equal(Upscaler(engine).upscale(image), Upscaler(on_host).upscale(image))
