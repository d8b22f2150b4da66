"""Clusters that cannot be used, and what becomes of the process that talks to them: no Ray has to be started for it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from repsr_deploy.cluster import run
from repsr_deploy.cluster.order import Order
from repsr_deploy.cluster.run import carried_out, check_reachable
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.folders import Job
from tests.cluster.work import prepare

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find the tests, too."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))


@pytest.fixture
def silent() -> Generator[str]:
    """Address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def order_for(address: str) -> Order:
    return Order(
        address=address, jobs=[Job(Path("/in/a.png"), Path("/out/a.png"))], prepare=prepare, model=None, threads=1,
        workers=1, uses_gpu=False, log_level=30,
    )  # fmt: skip


def drivers() -> list[int]:
    """Our processes that talk to Ray."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                is_driver = b"repsr_deploy.cluster.driver" in (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == os.getpid() and is_driver:
                found.append(int(entry.name))
    return found


def when_driver_runs(act: signal.Signals, *, on: int | None = None) -> threading.Thread:
    """Sends a signal to the driver, or to another process, once there is one."""

    def send() -> None:
        deadline = time.monotonic() + 30
        while not drivers():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(on or drivers()[0], act)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("address", ["", "ray", "local:", "host", "http://a:1", "ray://a", "a:b", "[::1]", "a:123456"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="Ray's address is"):
        check_reachable(address)


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_nobody_there_is_said_at_once(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(f"127.0.0.1:{server.getsockname()[1]}")
        check_reachable(address)
    start = time.monotonic()
    with pytest.raises(RepsrError, match=f"cannot reach a Ray cluster at {address}"):
        next(carried_out(order_for(address)))
    assert time.monotonic() - start < run.PROBE_S + 1


def test_unknown_host_and_port_are_said() -> None:
    for address in ("nosuchhost.invalid:6379", "127.0.0.1:99999", "[::1]:1"):
        with pytest.raises(RepsrError, match="cannot reach a Ray cluster"):
            check_reachable(address)


def test_what_never_answers_is_given_up(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CONNECT_S", 1.0)
    with pytest.raises(RepsrError, match=f"no Ray cluster answered at {silent} within 1 s"):
        next(carried_out(order_for(silent)))
    assert drivers() == []


def test_lost_connection_is_said(silent: str) -> None:
    killer = when_driver_runs(signal.SIGKILL)
    with pytest.raises(RepsrError, match=f"the Ray cluster {silent} was lost: .*--skip-existing"):
        next(carried_out(order_for(silent)))
    killer.join()
    assert drivers() == []


def test_interrupt_ends_the_process(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "END_S", 5.0)
    interrupter = when_driver_runs(signal.SIGINT, on=os.getpid())
    with pytest.raises(KeyboardInterrupt):
        next(carried_out(order_for(silent)))
    interrupter.join()
    assert drivers() == []


def test_process_ends_with_its_parent(silent: str) -> None:
    command = [sys.executable, "-m", "repsr_deploy.cluster.driver"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        try:
            assert driver.stdin is not None
            driver.stdin.write(pickle.dumps(order_for(silent)))
            driver.stdin.close()  # what a parent's death does
            driver.wait(30)
        finally:
            driver.kill()
