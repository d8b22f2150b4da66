"""ONNX Runtime bound to given memory: the same calls, with the processor's memory in the place of the GPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from repsr_kernels.gpu.driver import CudaError
from repsr_kernels.gpu.pipeline.onnxruntime import OrtNetwork
from repsr_kernels.tensors import Tensor
from tests.runtimes.models import features_model, plain_model, spec_of

MODEL = features_model(plain_model(spec_of(2, 2, 8))).SerializeToString()


class HostMemory:
    """Gives memory as PyCUDA's driver module does."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []

    def mem_alloc(self, size: int) -> int:
        """Address of so many bytes."""
        self.arrays.append(np.zeros(size, np.uint8))
        return self.arrays[-1].ctypes.data


def session(stream: int = 0) -> Any:
    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def network() -> OrtNetwork:
    return OrtNetwork(session, HostMemory(), name="m", scale=2, skip="nearest", device="cpu")


def array_of(tensor: Tensor) -> Any:
    return Tensor(tensor.address, tensor.type, tensor.shape, tensor.strides).numpy()


def test_features_arrive_where_they_are_said_to() -> None:
    lane = network().lane(7)
    assert not lane.capturable
    random = np.random.default_rng(0)
    for shape in ((1, 3, 9, 14), (2, 3, 20, 5), (2, 3, 20, 5)):
        given, features = lane.prepare(shape)
        assert (given.shape, given.type) == (shape, "fp32")
        assert features.shape == (shape[0], 12, *shape[2:])
        batch = random.random(shape, np.float32)
        array_of(given)[...] = batch
        lane.enqueue()
        expected: Any = session().run(None, {"input": batch})[0]
        np.testing.assert_array_equal(array_of(features), expected)
    assert lane.prepare((2, 3, 20, 5)) == lane.prepare((2, 3, 20, 5))
    lane.close()
    lane.close()


def test_streams_have_sessions_of_their_own() -> None:
    opened: list[int] = []

    def open_session(stream: int) -> Any:
        opened.append(stream)
        return session()

    both = OrtNetwork(open_session, HostMemory(), name="m", scale=2, skip="nearest", device="cpu")
    for stream in (5, 5, 9):
        both.lane(stream)
    assert opened == [5, 9]
    both.release()
    both.lane(5)
    assert opened == [5, 9, 5]


def test_what_it_cannot_run_is_said() -> None:
    lane = network().lane(0)
    lane.prepare((1, 5, 9, 9))
    with pytest.raises(CudaError, match=r"ONNX Runtime cannot run the network: .*Got: 5 Expected: 3"):
        lane.enqueue()
