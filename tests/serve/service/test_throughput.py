"""How long it will take, by what was done lately."""

from __future__ import annotations

import pytest

from repsr_serve.budget import Lane
from repsr_serve.throughput import Throughput, TooMuchAheadError


class Clock:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_retry_after_is_the_backlog_by_the_measured_rate() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    assert throughput.retry_after_s() == 1  # nothing to do, nothing known
    with throughput.work(1_000_000, Lane.LARGE) as work:
        clock.now += 0.5
        work.reached(400_000)
        work.reached(1_000_000)
    assert throughput.backlog_pixels == 0
    assert throughput.pixels_per_s == pytest.approx(2_000_000)
    clock.now += 1000  # with nothing to do, no time passes
    assert throughput.pixels_per_s == pytest.approx(2_000_000)
    with throughput.work(13_000_000, Lane.LARGE) as work, throughput.work(2_000_000, Lane.LARGE):
        assert throughput.backlog_pixels == 15_000_000
        assert throughput.retry_after_s() == 8
        work.reached(5_000_000)
        assert throughput.backlog_pixels == 10_000_000
        with throughput.work(10**12, Lane.LARGE):
            assert throughput.retry_after_s() == 60
    assert throughput.backlog_pixels == 0


def test_what_was_given_up_is_no_backlog_and_no_rate() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    with throughput.work(1000, Lane.LARGE) as work:
        clock.now += 1
        work.reached(250)
    assert throughput.backlog_pixels == 0
    assert throughput.pixels_per_s == pytest.approx(250, rel=0.05)


def test_the_rate_follows_what_happens() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    for rate, seconds in ((1000, 300), (100, 300)):
        with throughput.work(rate * seconds, Lane.LARGE) as work:
            for second in range(1, seconds + 1):
                clock.now += 1
                work.reached(rate * second)
        assert throughput.pixels_per_s == pytest.approx(rate, rel=0.05)


def test_who_would_wait_too_long_is_refused() -> None:
    clock = Clock()
    throughput = Throughput(clock)
    with throughput.work(10_000_000, Lane.LARGE):
        for lane in Lane:
            throughput.check_ahead(lane, 0.1)  # nothing is known of the speed
    with throughput.work(1_000_000, Lane.LARGE) as work:
        clock.now += 1
        work.reached(1_000_000)
    with throughput.work(2_000_000, Lane.LARGE), throughput.work(4_000_000, Lane.BACKGROUND):
        throughput.check_ahead(Lane.SMALL, 0.1)  # nobody but small pictures is ahead of one
        throughput.check_ahead(Lane.LARGE, 2.1)
        with pytest.raises(TooMuchAheadError, match=r"2\.0 s"):
            throughput.check_ahead(Lane.LARGE, 1.9)
        with throughput.work(3_000_000, Lane.SMALL) as small:
            with pytest.raises(TooMuchAheadError, match=r"3\.0 s"):
                throughput.check_ahead(Lane.SMALL, 2.9)
            with pytest.raises(TooMuchAheadError, match=r"5\.0 s"):
                throughput.check_ahead(Lane.LARGE, 4.9)
            small.reached(2_000_000)
            throughput.check_ahead(Lane.SMALL, 2.9)
    throughput.check_ahead(Lane.LARGE, 0.1)
