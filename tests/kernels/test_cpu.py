"""Operations on processors: the library, its structures and what it refuses."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from repsr_kernels import cpu, params
from repsr_kernels.compile.host import host_library
from repsr_kernels.errors import RuntimeUnavailableError, UsageError
from repsr_kernels.operations import FusedUpsample
from repsr_kernels.tensors import on_host

STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "View": params.View,
    "Yuv": params.Yuv,
    "FusedUpsample": params.FusedUpsampleParams,
    "Preprocess": params.PreprocessParams,
}


def _operation() -> FusedUpsample:
    features, picture = np.zeros((3, 4, 5), np.float32), np.zeros((4, 5, 3), np.uint8)
    return FusedUpsample(features=on_host(features, "nchw"), out=on_host(picture, "nhwc"), scale=1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_lie_in_memory_as_those_of_the_kernels(name: str, tmp_path: Path) -> None:
    structure = STRUCTURES[name]
    fields = [field[0] for field in structure._fields_]
    offsets = ", ".join(f"offsetof(repsr::{name}, {field})" for field in fields)
    source = tmp_path / "layout.cpp"
    source.write_text(
        f'#include "params.cuh"\nextern "C" const long layout[] = {{sizeof(repsr::{name}), {offsets}}};\n'
    )
    library = ctypes.CDLL(str(host_library([source])))
    found = list((ctypes.c_long * (1 + len(fields))).in_dll(library, "layout"))
    assert found == [ctypes.sizeof(structure), *(getattr(structure, field).offset for field in fields)]


def test_memory_of_a_gpu_is_refused() -> None:
    operation = _operation()
    assert not isinstance(operation.out, params.YuvFrame)
    there = replace(operation, features=replace(operation.features, device=1), out=replace(operation.out, device=1))
    with pytest.raises(UsageError, match="memory of GPU 1; expected the host's"):
        cpu.run(there)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads}; expected 1 or more"):
        cpu.run(_operation(), threads)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("CXX", raising=False)
    cpu.library.cache_clear()
    with pytest.raises(RuntimeUnavailableError, match="no C\\+\\+ compiler"):
        cpu.run(_operation())


WITHOUT_ROOM = """
import resource
from pathlib import Path
import numpy as np
from repsr_kernels import cpu, reference
from tests.kernels.comparison import assert_same
from tests.kernels.random_operations import random_fused_upsample

def without_room(operation):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2**22  # half a thread's stack
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    cpu.run(operation, threads=16)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

case = random_fused_upsample(np.random.default_rng(1), scale=4, kind="picture", height=200, width=150)
expected = case.run(reference.run)
assert_same(case, expected, case.run(lambda operation: cpu.run(operation, threads=1)))
assert_same(case, expected, case.run(without_room))
"""


def test_a_process_that_can_start_no_threads_does_the_work_alone() -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{root / 'kernels'}", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", WITHOUT_ROOM], check=True, env=environment, timeout=100)
