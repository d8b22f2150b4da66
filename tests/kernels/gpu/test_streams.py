"""Streams of any library are handles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.streams import stream_handle

HANDLE = 0x7EEDDCCBBAA00  # does not fit into 32 bits


@dataclass
class OfPyCuda:
    handle: int = HANDLE


@dataclass
class OfPyTorch:
    cuda_stream: int = HANDLE


@dataclass
class OfCuPy:
    ptr: int = HANDLE


class OfTheProtocol:
    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, HANDLE


class OfItsFirstVersion:
    __cuda_stream__ = (0, HANDLE)


@pytest.mark.parametrize("stream", [HANDLE, OfPyCuda(), OfPyTorch(), OfCuPy(), OfTheProtocol(), OfItsFirstVersion()])
def test_streams(stream: Any) -> None:
    assert stream_handle(stream) == HANDLE


@pytest.mark.parametrize("stream", [None, 0, OfPyTorch(0), OfCuPy(0)])
def test_default_stream(stream: Any) -> None:
    assert stream_handle(stream) == 0


@pytest.mark.parametrize("stream", ["default", True, -1, 1.5, object()])
def test_no_streams(stream: Any) -> None:
    with pytest.raises(UsageError, match=r"stream is .*; expected a handle, a stream of PyCUDA, PyTorch or CuPy"):
        stream_handle(stream)
