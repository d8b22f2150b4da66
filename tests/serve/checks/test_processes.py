"""What a process takes: memory that it has touched, files in memory that nobody has mapped, threads, children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from checks.processes import Usage, children, command_of, family, group, usage

MEBIBYTE = 2**20
SIZE = 40 * MEBIBYTE
TAKES = {
    "nothing": "",
    "memory": f"kept = b'x' * {SIZE}",
    "an unmapped memfd": f"fd = os.memfd_create('x'); os.write(fd, b'x' * {SIZE})",
    "a mapped memfd": f"fd = os.memfd_create('x'); os.write(fd, b'x' * {SIZE}); m = mmap.mmap(fd, 0); m.read()",
    "a mapped memfd, closed": f"fd = os.memfd_create('x'); os.ftruncate(fd, {SIZE}); m = mmap.mmap(fd, 0)\n"
    f"m.write(b'x' * {SIZE}); os.close(fd)",
    "a memfd shared with a child": f"fd = os.memfd_create('x'); os.write(fd, b'x' * {SIZE}); m = mmap.mmap(fd, 0)\n"
    "m.read(); os.fork() or (sum(m[::4096]), time.sleep(600))",
}


@contextmanager
def running(code: str) -> Generator[int]:
    """A Python process that has run some code, and waits."""
    program = f"import mmap, os, threading, time\n{code}\nprint('ready', flush=True)\ntime.sleep(600)"
    command = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            os.killpg(process.pid, 9)


@pytest.fixture(scope="module")
def idle() -> Usage:
    """What a process takes that has done nothing."""
    with running("") as pid:
        return usage(pid)


@pytest.mark.parametrize("code", [*TAKES][1:])
def test_memory_is_counted_once_wherever_it_is(code: str, idle: Usage) -> None:
    with running(TAKES[code]) as pid:
        assert usage(pid).memory_bytes - idle.memory_bytes == pytest.approx(SIZE, abs=6 * MEBIBYTE)


def test_descriptors_threads_and_processes(idle: Usage) -> None:
    sleeping = "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    opened = "kept = [os.dup(1) for _ in range(5)]"
    with running(f"{sleeping}\n{opened}\nos.fork() or time.sleep(600)") as pid:
        found = usage(pid)
        assert found.processes == 2
        assert found.threads == 3
        assert found.descriptors == 2 * (idle.descriptors + 5)
        assert len(children(pid)) == 1
        assert sorted(group(pid)) == sorted(family(pid))
        assert "time.sleep(600)" in command_of(pid)
    assert family(pid) == []
    limit = time.monotonic() + 5
    while group(pid) and time.monotonic() < limit:  # the child is told to end, but nobody here waits for it
        time.sleep(0.01)
    assert group(pid) == []
    with pytest.raises(ProcessLookupError):
        usage(pid)
