"""Frames on their way: at the same time, few of them, in order, and to an end."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from repsr_deploy.imaging.outcome import Workers
from repsr_deploy.imaging.samples import Image
from repsr_deploy.video.flow import AbandonedError, Enlarge, Flow
from repsr_deploy.video.options import RawFormat
from repsr_deploy.video.pipe import PipeSource, plan_pipe
from repsr_deploy.video.source import SourceFrame

WAIT_S = 20.0
GRAY = RawFormat(width=8, height=4, pix_fmt="gray", rate="25")


def _flow(values: list[int], enlarge: Enlarge, read: list[int] | None = None, **options: Any) -> Flow:
    """Gray frames of these values."""
    source = PipeSource(io.BytesIO(b"".join(bytes([value]) * 32 for value in values)), GRAY)

    def frames() -> Iterator[SourceFrame]:
        for frame in source.frames():
            if read is not None:
                read.append(frame.pts)
            yield frame

    return Flow(frames(), enlarge, plan_pipe(source.info, (16, 8), "raw")[0], **options)


def _twice(image: Image, _abandoned: Callable[[], bool]) -> Image:
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)


def _value(frame: Any) -> int:
    return int(np.frombuffer(bytes(frame.planes[0]), np.uint8)[0])


def test_results_are_in_order_whoever_is_faster() -> None:
    def unevenly(image: Image, abandoned: Callable[[], bool]) -> Image:
        time.sleep(0.001 * (int(image[0, 0]) * 7 % 5))
        return _twice(image, abandoned)

    with _flow([*range(40)], unevenly, workers=Workers(load=3, process=4, save=3)) as flow:
        assert [(frame.pts, frame.duration, _value(frame)) for frame in flow] == [(n, 1, n) for n in range(40)]


def test_the_next_frames_are_made_while_one_is_encoded_and_not_many_more() -> None:
    begun: list[int] = []
    read: list[int] = []
    third = threading.Event()

    def enlarge(image: Image, abandoned: Callable[[], bool]) -> Image:
        begun.append(int(image[0, 0]))
        if len(begun) == 3:
            third.set()
        return _twice(image, abandoned)

    with _flow([*range(100)], enlarge, read) as flow:
        results = iter(flow)
        assert _value(next(results)) == 0
        assert third.wait(WAIT_S)  # nobody has asked for the second result yet
        time.sleep(0.1)
        assert len(read) < 20
        assert [_value(frame) for frame in results] == [*range(1, 100)]


def test_what_limits_is_named() -> None:
    def slowly(image: Image, abandoned: Callable[[], bool]) -> Image:
        time.sleep(0.01)
        return _twice(image, abandoned)

    with _flow([*range(8)], slowly) as flow:
        assert len([*flow]) == 8
        assert flow.limiting == "upscale"
    with _flow([*range(8)], _twice) as flow:
        for _ in flow:
            time.sleep(0.01)
        assert flow.limiting == "encode"


def test_repeated_frames_have_their_own_times() -> None:
    calls: list[int] = []

    def enlarge(image: Image, abandoned: Callable[[], bool]) -> Image:
        calls.append(int(image[0, 0]))
        return _twice(image, abandoned)

    values = [5, 5, 6, 5, 5, 5]
    with _flow(values, enlarge, deduplicate=True) as flow:
        assert [(frame.pts, _value(frame)) for frame in flow] == [*enumerate(values)]
        assert flow.repeated == 3
    assert sorted(calls) == [5, 5, 6]


def test_a_failure_comes_in_the_place_of_its_frame() -> None:
    def fail(image: Image, abandoned: Callable[[], bool]) -> Image:
        if image[0, 0] == 3:
            raise MemoryError
        return _twice(image, abandoned)

    def run() -> None:
        with _flow([*range(9)], fail) as flow:
            for frame in flow:
                seen.append(_value(frame))

    seen: list[int] = []
    with pytest.raises(MemoryError):
        run()
    assert seen == [0, 1, 2]


def test_work_is_given_up_when_nobody_waits() -> None:
    begun, gave_up = threading.Event(), threading.Event()

    def for_ever(image: Image, abandoned: Callable[[], bool]) -> Image:
        if image[0, 0] == 0:
            return _twice(image, abandoned)
        begun.set()
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            if abandoned():
                gave_up.set()
                raise AbandonedError
            time.sleep(0.001)
        return image

    with _flow([*range(5)], for_ever) as flow:
        assert _value(next(iter(flow))) == 0
        assert begun.wait(WAIT_S)
    assert gave_up.is_set()
