"""Nested phases as one share, and work that an interrupt stops."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from repsr_deploy.runtimes.tensorrt.progress import Phases, run_stoppable


def test_a_phase_within_a_step_counts_as_its_part() -> None:
    phases = Phases()
    phases.start("build", None, 4)
    phases.step("build", 0)
    assert phases.share == 0.25
    phases.start("optimize", "build", 2)
    phases.step("optimize", 0)
    assert phases.share == 0.25 + 0.25 / 2
    phases.start("pass", "optimize", 5)
    phases.step("pass", 1)
    assert phases.share == pytest.approx(0.25 + (1 + 2 / 5) / 8)
    phases.finish("pass")
    phases.finish("optimize")
    assert phases.share == 0.5


def test_the_share_never_falls_and_ends_at_one() -> None:
    phases = Phases()
    phases.start("build", None, 3)
    shares: list[float] = []
    for name in ("first", "second"):  # two phases within the first step
        phases.start(name, "build", 2)
        for step in range(2):
            phases.step(name, step)
            shares.append(phases.share)
        phases.finish(name)
    assert shares == sorted(shares)
    assert phases.share == pytest.approx(1 / 3)
    phases.finish("build")
    assert phases.share == 1


def test_unknown_phases_are_ignored() -> None:
    phases = Phases()
    phases.step("never begun", 3)
    phases.finish("never begun")
    assert phases.share == 0


def test_work_gives_its_result_or_its_error() -> None:
    assert run_stoppable(lambda: 42, threading.Event()) == 42
    with pytest.raises(ZeroDivisionError):
        run_stoppable(lambda: 1 // 0, threading.Event())


def test_an_interrupt_waits_until_the_work_has_stopped() -> None:
    cancelled = threading.Event()
    stopped = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled.wait(10)
        time.sleep(0.05)
        stopped.set()

    with pytest.raises(KeyboardInterrupt):
        run_stoppable(work, cancelled)
    assert stopped.is_set()
