"""What is said of a machine."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from repsr_deploy.bench.machine import available_memory_bytes, describe_machine, hardware, status_bytes, warning


def test_machine_and_software_are_named() -> None:
    machine = describe_machine(3)
    assert machine["threads"] == 3
    assert machine["processor"]
    assert machine["cores"] == os.cpu_count()
    assert machine["packages"]["numpy"] == np.__version__
    assert "torch" in machine["packages"]
    assert json.loads(json.dumps(machine, allow_nan=False)) == machine


def test_hardware_in_one_line() -> None:
    machine = {"processor": "Chip", "cores": 2, "threads": 1, "gpus": []}
    assert hardware(machine) == "Chip, 2 cores, 1 thread"
    assert hardware(machine | {"threads": 2, "gpus": ["Card, 580.1"]}) == "Chip, 2 cores, 2 threads, Card, 580.1"


@pytest.mark.parametrize(("load", "busy"), [(None, False), (0.3, False), (1.0, False), (1.1, True)])
def test_busy_machine_is_said(load: float | None, busy: bool) -> None:
    lines = warning({"load_1min": load, "cores": 2})
    assert bool(lines) == busy
    assert not busy or "1.1 processes" in lines[0]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux says")  # noqa: PTH110
def test_memory_of_this_process_is_counted_in_bytes() -> None:
    before, available = status_bytes("VmRSS"), available_memory_bytes()
    assert before is not None
    assert available is not None
    ballast = np.ones(25 * 2**17)  # 25 MiB
    after, peak = status_bytes("VmRSS"), status_bytes("VmHWM")
    assert after is not None
    assert peak is not None
    assert 20 * 2**20 < after - before < 40 * 2**20
    assert peak >= after
    assert ballast.nbytes == 25 * 2**20
    assert status_bytes("NoSuchField") is None
