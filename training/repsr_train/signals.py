"""Ctrl-C and SIGTERM as a question that the training loop asks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_flag(*, patient: bool) -> Generator[Callable[[], bool]]:
    """Whether a signal to stop has come.

    A second Ctrl-C stops at once, unless `patient`: torchrun repeats the signal that its processes have got already.
    """
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if not patient:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
