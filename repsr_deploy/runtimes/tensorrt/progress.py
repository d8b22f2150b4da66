"""Long builds: how far they are, and how they are stopped without leaving anything half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Progress = Callable[[float, str], None]
"""Called with the share that is done, 0 to 1, never less than before, and with what is being done. From any thread."""

Result = TypeVar("Result")


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """TensorRT's nested phases as one share. A phase's steps count alike; a phase within a step counts as its part."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self.share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, its first step running."""
        self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, step: int) -> None:
        """The step with this number, counted from 0, is done."""
        if (phase := self._phases.get(name)) is not None:
            phase.done = step + 1
            self._update(name)

    def finish(self, name: str) -> None:
        """A phase is over, whether or not all its steps were reported."""
        if (phase := self._phases.get(name)) is not None:
            phase.done = phase.steps
            self._update(name)
            del self._phases[name]

    def _update(self, name: str) -> None:
        share = 0.0
        at: str | None = name
        while at is not None and (phase := self._phases.get(at)) is not None:
            share = min((phase.done + share) / phase.steps, 1.0)
            at = phase.parent
        self.share = max(self.share, share)


def make_monitor(trt: Any, progress: Progress, cancelled: threading.Event) -> Any:
    """What TensorRT reports to, and asks whether to go on."""

    class Monitor(trt.IProgressMonitor):
        """Called from TensorRT's own threads, several at a time."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases = Phases()
            self._lock = threading.Lock()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._phases.start(phase_name, parent_phase, num_steps)
                progress(self._phases.share, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self._lock:
                self._phases.step(phase_name, step)
                progress(self._phases.share, phase_name)
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if cancelled.is_set():
                return  # a phase that is given up is over, too, but not done
            with self._lock:
                self._phases.finish(phase_name)
                progress(self._phases.share, phase_name)

    return Monitor()


def run_stoppable(work: Callable[[], Result], cancelled: threading.Event) -> Result:
    """The result of `work`, run in a thread of its own, so that an interrupt reaches the waiting thread at once.

    On KeyboardInterrupt, `cancelled` is set, `work` comes to its end, and the interrupt goes on.
    """
    outcome: list[Result] = []
    failure: list[BaseException] = []
    begun, done = threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    try:
        threading.Thread(target=run, name="tensorrt-build", daemon=True).start()
        done.wait()
    except KeyboardInterrupt:
        cancelled.set()
        if begun.wait(1):  # an interrupt may come before the thread does
            done.wait()
        raise
    if failure:
        raise failure[0]
    return outcome[0]
