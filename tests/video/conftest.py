"""What all tests of video share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from repsr_deploy.imaging.upscaler import Upscaler
from tests.runtimes.models import plain_model, spec_of


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = {*threading.enumerate()}
    yield
    assert {*threading.enumerate()} <= before


@pytest.fixture(scope="session")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    """A small network that enlarges twice."""
    model = tmp_path_factory.mktemp("model") / "m.onnx"
    model.write_bytes(plain_model(spec_of()).SerializeToString())
    return Upscaler(model, runtime="onnxruntime", threads=1)
