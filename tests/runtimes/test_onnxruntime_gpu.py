"""ONNX Runtime's providers for GPUs: what is asked of them, and no other provider in their place.

Running them needs a GPU; everything before that is tested here with the real ONNX Runtime.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from repsr_deploy.errors import RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import onnxruntime_gpu as gpu
from repsr_deploy.runtimes import open_runtime, unavailable
from repsr_deploy.runtimes.onnxruntime_gpu import PROVIDERS, OnnxRuntimeGpu, run_bound
from tests.runtimes.here import STORED
from tests.runtimes.models import image_model, plain_model, spec_of

INFO = ModelInfo(name="m", scale=2, halo=4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own for each test."""
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_provider_is_one_that_onnxruntime_knows() -> None:
    for item in PROVIDERS.values():
        assert item.provider in onnxruntime.get_all_providers()


def test_precisions() -> None:
    offered = {
        name: [stored for stored in STORED if item.precisions(ModelInfo(name="m", scale=2, halo=4, precision=stored))]
        for name, item in PROVIDERS.items()
    }
    assert offered == {
        "onnxruntime-cuda": ["fp32", "fp16"],
        "onnxruntime-tensorrt": list(STORED),
        "onnxruntime-tensorrt-rtx": list(STORED),
    }


def test_engines_are_asked_for_an_explicit_range_of_shapes() -> None:
    options = PROVIDERS["onnxruntime-tensorrt"].options(INFO, Path("folder"))
    assert options["trt_profile_min_shapes"] == "input:1x3x1x1"
    assert options["trt_profile_max_shapes"] == "input:1x3x1080x1920"
    assert (options["trt_engine_cache_enable"], options["trt_engine_cache_path"]) == ("1", "folder")
    assert not [key for key in options if key.endswith(("fp16_enable", "bf16_enable", "int8_enable"))]
    half = PROVIDERS["onnxruntime-tensorrt"].options(
        ModelInfo(name="m", scale=2, halo=4, precision="fp16", colour="y"), Path("folder")
    )
    assert half["trt_fp16_enable"] == "1"
    assert half["trt_profile_opt_shapes"] == "input:1x1x360x640"
    images = PROVIDERS["onnxruntime-tensorrt-rtx"].options(
        ModelInfo(name="m", scale=2, halo=4, io="image"), Path("folder")
    )
    assert images["nv_profile_max_shapes"] == "input:1x1080x1920x3"


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_provider_takes_another_s_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where all that is asked beforehand says that it is there: ONNX Runtime would quietly take the CPU."""
    if name not in unavailable():
        pytest.skip(f"{name} is here")
    if PROVIDERS[name].plugin and find_spec(gpu.PLUGIN) is None:
        pytest.skip(f"the package {gpu.PLUGIN} is not installed")
    monkeypatch.setattr(gpu, "why_unavailable", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that a provider is not built in, and goes on
        with pytest.raises(RuntimeUnavailableError, match=f"runtime {name} cannot (run all of the model|be used here)"):
            OnnxRuntimeGpu(plain_model(spec_of()).SerializeToString(), name)


@pytest.mark.parametrize("image", [False, True])
def test_a_bound_run_is_a_run(image: bool) -> None:
    """The same calls, with the processor's memory in the place of the GPU's."""
    model = plain_model(spec_of())
    data = (image_model(model) if image else model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).random((1, 3, 9, 14), np.float32)
    if image:
        batch = np.random.default_rng(0).integers(0, 256, (1, 9, 14, 3), np.uint8)
    bound = run_bound(session, "input", "output", batch, device="cpu")
    np.testing.assert_array_equal(bound, session.run(None, {"input": batch})[0])
    assert bound.dtype == batch.dtype


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROVIDERS)
def test_on_a_gpu(name: str) -> None:
    if name in unavailable():
        pytest.skip(unavailable()[name])
    model = plain_model(spec_of(2, 3, 16)).SerializeToString()
    x_nchw = np.random.default_rng(0).random((1, 3, 61, 83), np.float32)
    runtime = open_runtime(model, name)
    assert runtime.precision == "fp32"
    np.testing.assert_allclose(runtime.run(x_nchw), open_runtime(model, "onnxruntime").run(x_nchw), atol=1e-4)
