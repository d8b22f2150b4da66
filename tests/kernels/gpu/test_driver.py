"""The calls of NVIDIA's driver, against a library with its prototypes that writes down what it is called with."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from repsr_kernels.gpu import driver
from repsr_kernels.gpu.driver import CudaError, CudaGraph, Device, find_device, why_no_device

STREAM = 0x7EEDDCCBBAA00  # does not fit into 32 bits
GRAPH, EXECUTABLE = 0x7F0011223344, 0x7F0055667788
Calls = Callable[[], list[tuple[str, int, int]]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    source = Path(__file__).with_name("driver.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source], check=True)
    return path


@pytest.fixture
def calls(library: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Calls]:
    """What the library was called with since the last time."""
    monkeypatch.setattr(driver, "LIBRARY", str(library))
    driver.load_driver.cache_clear()
    take = ctypes.CDLL(str(library)).take_calls
    take.restype = ctypes.c_char_p

    def taken() -> list[tuple[str, int, int]]:
        rows = [line.split() for line in take().decode().splitlines()]
        return [(name, *(0 if word == "(nil)" else int(word, 16) for word in words)) for name, *words in rows]  # type: ignore[misc]

    taken()
    yield taken
    driver.load_driver.cache_clear()


@pytest.fixture
def failing(calls: Calls) -> Generator[Callable[[str], None]]:
    """Makes one function of the library fail: it reads the environment of the process itself."""
    yield lambda name: os.putenv("FAILING", name)
    os.unsetenv("FAILING")


def test_the_gpu(calls: Calls) -> None:
    assert find_device() == Device(name="NVIDIA Test 7", compute_capability="12.13")
    assert why_no_device() is None
    assert [name for name, _, _ in calls()] == ["cuInit", "cuDeviceGet", "cuDeviceGet"]


def test_no_gpu(calls: Calls, failing: Callable[[str], None]) -> None:
    failing("cuDeviceGet")
    assert find_device() is None
    reason = "cuDeviceGet of the NVIDIA driver: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED (901)"
    assert why_no_device() == reason


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libnothing-of-the-kind.so.1")
    driver.load_driver.cache_clear()
    assert find_device() is None
    assert "no NVIDIA driver (libnothing-of-the-kind.so.1" in (why_no_device() or "")


def test_a_graph_is_recorded_launched_and_freed(calls: Calls) -> None:
    find_device()
    calls()
    during: list[str] = []
    graph = CudaGraph.record(STREAM, lambda: during.extend(name for name, _, _ in calls()))
    assert during == ["cuStreamBeginCapture_v2"]
    assert calls() == [
        ("cuStreamEndCapture", STREAM, 0),
        ("cuGraphInstantiateWithFlags", GRAPH, 0),
        ("cuGraphDestroy", GRAPH, 0),
    ]
    graph.launch(STREAM)
    graph.close()
    graph.close()
    assert calls() == [("cuGraphLaunch", EXECUTABLE, STREAM), ("cuGraphExecDestroy", EXECUTABLE, 0)]


def test_recording_belongs_to_its_thread(calls: Calls) -> None:
    find_device()
    calls()
    CudaGraph.record(STREAM, lambda: None)
    assert calls()[0] == ("cuStreamBeginCapture_v2", STREAM, 1)


@pytest.mark.parametrize(
    ("function", "freed"),
    [("cuStreamBeginCapture_v2", 0), ("cuStreamEndCapture", 0), ("cuGraphInstantiateWithFlags", 1)],
)
def test_a_failed_recording_leaves_nothing(
    calls: Calls, failing: Callable[[str], None], function: str, freed: int
) -> None:
    find_device()
    failing(function)
    with pytest.raises(CudaError, match=f"{function} of the NVIDIA driver: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
        CudaGraph.record(STREAM, lambda: None)
    assert [name for name, _, _ in calls()].count("cuGraphDestroy") == freed


def test_an_error_while_recording_ends_the_recording(calls: Calls) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        CudaGraph.record(STREAM, fail)
    assert [name for name, _, _ in calls()][-2:] == ["cuStreamEndCapture", "cuGraphDestroy"]
