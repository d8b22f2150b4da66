"""Memory limits of control groups, and resident memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from repsr_serve.buffers import Buffer
from repsr_serve.machine import memory_bytes, resident_bytes

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def groups(folder: Path, lines: str, limits: dict[str, str]) -> tuple[Path, Path]:
    """A process's control groups."""
    for name, limit in limits.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(limit)
    (folder / "cgroup").write_text(lines)
    return folder / "cgroup", folder / "fs"


@pytest.mark.parametrize(
    ("lines", "limits", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "5000\n"}, 5000),
        ("0::/a/b\n", {"a/b/memory.max": "3000\n", "a/memory.max": "5000\n"}, 3000),
        ("0::/../gone\n", {"memory.max": "7000\n"}, 7000),
        ("4:memory:/docker/x\n0::/\n", {"memory/memory.limit_in_bytes": "6000\n"}, 6000),
        ("4:cpu,memory:/x\n", {"memory/x/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, PHYSICAL),
        ("3:cpu:/x\n", {"memory.max": "1\n"}, PHYSICAL),
        ("0::/\n", {}, PHYSICAL),
    ],
)
def test_memory_is_the_least_limit(tmp_path: Path, lines: str, limits: dict[str, str], expected: int) -> None:
    assert memory_bytes(*groups(tmp_path, lines, limits)) == expected


def test_memory_without_control_groups(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path / "none", tmp_path) == PHYSICAL
    assert 0 < memory_bytes() <= PHYSICAL


def test_resident_memory_counts_what_is_shared_once() -> None:
    size = 40 * 2**20
    before = resident_bytes([os.getpid()])
    with Buffer() as buffer:
        buffer.resize(size)
        mapped = np.frombuffer(buffer.map(writable=True), np.uint8)
        mapped[:] = 1
        with subprocess.Popen(["sleep", "60"]) as child:
            try:
                grown = resident_bytes([os.getpid()]) - before
                assert 0.9 * size < grown < 1.3 * size
                assert 0 < resident_bytes([child.pid]) < 20 * 2**20
            finally:
                child.kill()
    assert resident_bytes([2**22 + 1]) == 0
