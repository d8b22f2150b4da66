"""The real `tritonclient` and the real server, over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.http.aio
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from repsr_deploy.imaging.upscaler import Upscaler

RANDOM = np.random.default_rng(5)
MODEL = "photo-x2"


@pytest.fixture(scope="module")
def triton(served: str) -> Generator[Any]:
    client = InferenceServerClient(served.removeprefix("http://"), concurrency=4)
    yield client
    client.close()


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(MODEL, runtime="onnxruntime", threads=1)


def tensor(name: str, datatype: str, values: NDArray[Any]) -> Any:
    item = InferInput(name, list(values.shape), datatype)
    item.set_data_from_numpy(values)
    return item


def files(*images_hwc: NDArray[np.uint8]) -> NDArray[Any]:
    return np.array([cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for image in images_hwc], np.object_)


def image(height: int, width: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (height, width, 3), np.uint8)


def picture(data: bytes) -> NDArray[Any]:
    image_hwc = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image_hwc is not None
    return image_hwc


def test_health_and_metadata(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(MODEL)
    assert triton.is_model_ready(MODEL, model_version="1")
    assert not triton.is_model_ready("nothing")
    assert not triton.is_model_ready(MODEL, model_version="2")
    server = triton.get_server_metadata()
    assert server["name"] == "repsr-serve"
    assert "binary_tensor_data" in server["extensions"]
    said = triton.get_model_metadata(MODEL, model_version="1")
    assert (said["name"], said["versions"]) == (MODEL, ["1"])
    shapes = {item["name"]: (item["datatype"], item["shape"]) for item in said["inputs"] + said["outputs"]}
    assert shapes["IMAGE"] == shapes["UPSCALED"] == ("BYTES", [-1])
    assert shapes["input"] == shapes["output"] == ("FP32", [-1, 3, -1, -1])
    assert shapes["pixels"] == shapes["upscaled_pixels"] == ("UINT8", [-1, -1, -1, 3])
    config = triton.get_model_config(MODEL)
    assert (config["max_batch_size"], len(config["input"])) == (0, 3)
    assert {entry["name"] for entry in triton.get_model_repository_index()} == {"photo-x2", "photo-x4"}


@pytest.mark.parametrize("as_binary", [True, False])
def test_raw_tensors_give_what_the_upscaler_gives(triton: Any, upscaler: Upscaler, as_binary: bool) -> None:
    images_nhwc = np.stack([image(33, 47) for _ in range(3)])
    outputs = [InferRequestedOutput("upscaled_pixels", binary_data=as_binary)]
    result = triton.infer(MODEL, [tensor("pixels", "UINT8", images_nhwc)], outputs=outputs, request_id="77")
    assert result.get_response()["id"] == "77"
    expected_nhwc = np.stack([upscaler.upscale(item) for item in images_nhwc])
    np.testing.assert_array_equal(result.as_numpy("upscaled_pixels"), expected_nhwc)

    batch_nchw = RANDOM.random((2, 3, 21, 35), np.float32)
    outputs = [InferRequestedOutput("output", binary_data=as_binary)]
    result = triton.infer(MODEL, [tensor("input", "FP32", batch_nchw)], model_version="1", outputs=outputs)
    expected = [upscaler.upscale(np.ascontiguousarray(item.transpose(1, 2, 0))) for item in batch_nchw]
    given = result.as_numpy("output")
    assert given.dtype == np.float32
    np.testing.assert_array_equal(given, np.stack(expected).transpose(0, 3, 1, 2))


def test_encoded_pictures_give_what_the_upscaler_gives(triton: Any, upscaler: Upscaler) -> None:
    images = [image(17, 29), image(300, 270), image(1, 1)]
    result = triton.infer(MODEL, [tensor("IMAGE", "BYTES", files(*images))])
    given = result.as_numpy("UPSCALED")
    assert given.shape == (3,)
    for data, source in zip(given, images, strict=True):
        np.testing.assert_array_equal(picture(data), upscaler.upscale(source))


def test_parameters_are_those_of_upscale(triton: Any, upscaler: Upscaler) -> None:
    source = image(40, 30)
    asked = {"scale": 1.5, "format": "webp", "quality": 100}
    result = triton.infer(MODEL, [tensor("IMAGE", "BYTES", files(source))], parameters=asked)
    (data,) = result.as_numpy("UPSCALED")
    assert data[8:12] == b"WEBP"
    assert picture(data).shape == upscaler.upscale(source, factor=1.5).shape == (60, 45, 3)


def test_errors_are_told_as_the_client_expects(triton: Any) -> None:
    pixels = tensor("pixels", "UINT8", image(8, 8)[None])
    for call, status, said in (
        (lambda: triton.infer("nothing", [pixels]), "404", "'nothing'"),
        (lambda: triton.infer(MODEL, [pixels], model_version="3"), "404", "no version '3'"),
        (lambda: triton.infer(MODEL, [pixels], parameters={"scael": 2}), "422", "'scael' is unknown"),
        (lambda: triton.infer(MODEL, [pixels, pixels]), "422", "expected one of IMAGE"),
        (lambda: triton.infer(MODEL, [tensor("pixels", "FP32", np.ones((1, 2, 2, 3), np.float32))]), "422", "UINT8"),
        (lambda: triton.infer(MODEL, [pixels], request_compression_algorithm="gzip"), "415", "gzip"),
        (lambda: triton.infer(MODEL, [tensor("IMAGE", "BYTES", np.array([b"GIF89a"], np.object_))]), "415", ""),
    ):
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() == status
        assert said in caught.value.message()


def test_many_at_a_time(triton: Any, upscaler: Upscaler) -> None:
    images = [image(30 + index, 50) for index in range(8)]
    asked = [triton.async_infer(MODEL, [tensor("pixels", "UINT8", item[None])]) for item in images]
    for request, source in zip(asked, images, strict=True):
        np.testing.assert_array_equal(request.get_result().as_numpy("upscaled_pixels")[0], upscaler.upscale(source))


def test_the_asyncio_client(served: str, upscaler: Upscaler) -> None:
    source = image(50, 31)

    async def ask() -> Any:
        async with tritonclient.http.aio.InferenceServerClient(served.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            return await client.infer(MODEL, [tensor("IMAGE", "BYTES", files(source))])

    (data,) = asyncio.run(ask()).as_numpy("UPSCALED")
    np.testing.assert_array_equal(picture(data), upscaler.upscale(source))
