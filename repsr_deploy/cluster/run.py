"""Carry out an order on a cluster: starts the process that talks to Ray, and hands on what it says."""

from __future__ import annotations

import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import IO

from repsr_deploy.cluster.order import Answer, Connected, Failed, Finished, Message, Order
from repsr_deploy.errors import RepsrError, UsageError

PROBE_S = 5.0
"""For a TCP connection to the cluster's address."""
CONNECT_S = 120.0
"""Until the cluster is there; one that is started here takes some seconds."""
END_S = 20.0
"""For a process that was told to end: workers are stopped meanwhile."""
ADDRESS = re.compile(r"(?:ray://)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})")


def carried_out(order: Order) -> Generator[Answer]:
    """The answers to all jobs of an order, each once, as they come. To be closed, which stops the workers.

    Raises:
        UsageError: the address is none, or workers are to be larger than machines.
        RepsrError: the cluster cannot be reached in time or is lost, a worker cannot open the model, an answer is
            missing.
        Exception: a defect on a worker.
    """
    check_reachable(order.address)
    open_jobs = {*range(len(order.jobs))}
    with tempfile.TemporaryFile() as log, _driver(order, log) as driver:
        for message in _messages(driver, order, log):
            match message:
                case Connected():
                    pass
                case Failed(error=error):
                    raise error
                case Finished():
                    break
                case Answer(index=index):
                    if index in open_jobs:  # a machine that was lost may have said it before
                        open_jobs.remove(index)
                        yield message
    if open_jobs:
        missing = f"{len(open_jobs)} of {len(order.jobs)} pictures"
        raise RepsrError(f"{missing} have no answer; run again with --skip-existing")


def check_reachable(address: str) -> None:
    """Whether something listens where a cluster is to be: Ray itself would try for minutes.

    Raises:
        UsageError: it is no address.
        RepsrError: nothing listens.
    """
    if address in ("local", "auto"):
        return
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise UsageError(f"Ray's address is {address!r}; expected local, auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((parts["v6"] or parts["host"], int(parts["port"])), PROBE_S).close()
    except (OSError, OverflowError) as error:
        raise RepsrError(
            f"cannot reach a Ray cluster at {address}: {error}; check the address, or take --ray local for this machine"
        ) from error


@contextmanager
def _driver(order: Order, log: IO[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """The process, its order given; it has ended when the block has."""
    process = subprocess.Popen(
        [sys.executable, "-m", "repsr_deploy.cluster.driver"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        start_new_session=True,  # Ctrl-C is ours to handle: workers then end in order
        env={"RAY_USAGE_STATS_ENABLED": "0", **os.environ},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it has ended already: what it said comes next
            process.stdin.write(pickle.dumps(order))
            process.stdin.flush()
        yield process
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _messages(driver: subprocess.Popen[bytes], order: Order, log: IO[bytes]) -> Generator[Message]:
    """What the process says, until it says no more."""
    assert driver.stdout is not None
    late = threading.Event()

    def give_up() -> None:
        late.set()
        driver.kill()

    timer = threading.Timer(CONNECT_S, give_up)
    timer.start()
    try:
        while True:
            message: Message = pickle.load(driver.stdout)
            timer.cancel()
            yield message
    except (EOFError, pickle.UnpicklingError) as error:
        if late.is_set():
            raise RepsrError(
                f"no Ray cluster answered at {order.address} within {CONNECT_S:g} s; check the address, and that Ray "
                "and Python have the same versions there"
            ) from error
        raise RepsrError(
            f"the Ray cluster {order.address} was lost: {_last_line(log)}; run again with --skip-existing"
        ) from error
    finally:
        timer.cancel()
        timer.join()


def _last_line(log: IO[bytes]) -> str:
    """Of what Ray printed."""
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no reason is given"
