"""Threads that cannot be started."""

from __future__ import annotations

from tests.kernels.cpu.programs import make_program, nothing_else, said_by


def test_work_is_done_by_those_that_start() -> None:
    """Also when memory runs out between the first and the last of them."""
    assert said_by(make_program("driver_threads", nothing_else)) == ""
