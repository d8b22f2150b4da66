"""Work that outlives whoever waited for it, for as long as it takes to end."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from repsr_deploy.errors import ImageFileError, ModelFileError, RepsrError, UsageError
from repsr_deploy.imaging.container import UnknownFormatError
from repsr_serve.admission import Admission
from repsr_serve.batcher import Ticket
from repsr_serve.budget import Lane
from repsr_serve.codec import WorkerDied
from repsr_serve.errands import Errands, StoppedError, TooLateError
from repsr_serve.faults import as_problems
from repsr_serve.problems import Problem
from repsr_serve.threads import Threads, ended


async def forever(cleaned: list[str], clean_s: float = 0.0) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(clean_s)
        cleaned.append("clean")


def test_time_is_up_at_once_and_cleaning_up_goes_on() -> None:
    async def story() -> None:
        errands, ticket, cleaned = Errands(), Ticket(), list[str]()
        with pytest.raises(TooLateError, match=r"0\.02 s"):
            await errands.run(forever(cleaned, 0.05), ticket, timeout_s=0.02)
        assert ticket.cancelled
        assert cleaned == []
        errands.cancel()  # must not interrupt it
        await errands.ended()
        assert cleaned == ["clean"]

    asyncio.run(story())


def test_what_is_stopped_is_said_to_those_who_wait() -> None:
    async def story() -> None:
        errands, cleaned = Errands(), list[str]()
        waiting = asyncio.create_task(errands.run(forever(cleaned), Ticket(), timeout_s=None))
        await asyncio.sleep(0.01)
        errands.cancel()
        await errands.ended()
        with pytest.raises(StoppedError):
            await waiting
        assert cleaned == ["clean"]

    asyncio.run(story())


def test_a_timeout_of_the_work_itself_is_not_ours() -> None:
    async def fail() -> None:
        raise TimeoutError("of a worker")

    with pytest.raises(TimeoutError, match="of a worker"):
        asyncio.run(Errands().run(fail(), Ticket(), timeout_s=5))


def test_a_result_for_nobody_is_discarded() -> None:
    async def story() -> None:
        errands, discarded = Errands(), list[int]()

        async def stubborn() -> int:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return 5
            return 6

        with pytest.raises(TooLateError):
            await errands.run(stubborn(), Ticket(), timeout_s=0.01, discard=discarded.append)
        await errands.ended()
        await asyncio.sleep(0)
        assert discarded == [5]

    asyncio.run(story())


def test_a_cancelled_task_waits_for_its_thread() -> None:
    async def story() -> None:
        threads, ticket = Threads(dict.fromkeys(Lane, 1)), Ticket()
        steps: list[str] = []

        def work() -> None:
            while not ticket.cancelled:
                time.sleep(0.001)
            time.sleep(0.03)
            steps.append("thread")

        running = asyncio.create_task(threads.run(Lane.LARGE, ticket, work))
        queued = asyncio.create_task(threads.run(Lane.LARGE, Ticket(), lambda: steps.append("never")))
        other = await threads.run(Lane.SMALL, Ticket(), threading.current_thread)
        assert other.name.startswith("upscale-small")
        for task in (queued, running):
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            steps.append("task")
        assert steps == ["task", "thread", "task"]
        threads.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("upscale-")]

    asyncio.run(story())


def test_an_error_from_a_thread_keeps_no_picture() -> None:
    async def story() -> str:
        threads = Threads(dict.fromkeys(Lane, 1))
        dead: list[bool] = []

        class Picture:
            def __del__(self) -> None:
                dead.append(True)

        def deep() -> None:
            picture = Picture()

            def deeper() -> None:
                raise MemoryError(type(picture).__name__)

            try:
                deeper()
            except MemoryError as error:
                raise RepsrError("no memory") from error

        with pytest.raises(RepsrError) as caught:
            await threads.run(Lane.SMALL, Ticket(), deep)
        threads.close()
        assert dead
        (note,) = caught.value.__notes__
        return note

    note = asyncio.run(story())
    assert "in deeper" in note
    assert "MemoryError: Picture" in note
    assert "RepsrError: no memory" in note


def test_ended_sees_every_end() -> None:
    async def story() -> None:
        with ThreadPoolExecutor(1) as pool:
            slow, failing = pool.submit(time.sleep, 0.02), pool.submit(int, "x")
            unbegun = pool.submit(int)
            unbegun.cancel()
            for future in (unbegun, slow, failing):
                await asyncio.wait_for(ended(future), 5)
                assert future.done()

    asyncio.run(story())


def out_of_memory() -> RepsrError:
    error = RepsrError("no memory for an image")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (
            UnknownFormatError("it starts with b'GIF'; expected PNG."),
            "unknown-format",
            "It starts with b'GIF'; expected PNG.",
        ),
        (ImageFileError("cannot read the image: it is cut off"), "damaged", "Cannot read the image: it is cut off."),
        (UsageError("factor is 0"), "parameters", "Factor is 0."),
        (ModelFileError("net gives NaN"), "broken-model", "Net gives NaN."),
        (WorkerDied("two workers ended"), "worker-died", "Two workers ended."),
        (MemoryError("x"), "overloaded", "memory ran out"),
        (out_of_memory(), "overloaded", "memory ran out"),
        (OSError(28, "No space left on device"), "overloaded", "memory or descriptors ran out"),
        (OSError(24, "Too many open files"), "overloaded", "memory or descriptors ran out"),
        (TooLateError(1.5), "too-late", "not done in 1.5 s"),
        (StoppedError(), "stopping", "stopping"),
    ],
)
def test_errors_become_problems(error: Exception, cause: str, said: str) -> None:
    admission = Admission(queue=1, uploads_bytes=1, retry_after_s=lambda: 9)
    with pytest.raises(Problem) as caught, as_problems(admission):
        raise error
    assert caught.value.cause == cause
    assert said in caught.value.detail
    assert caught.value.__cause__ is error
    assert (caught.value.retry_after_s is not None) == (caught.value.status == 503 or cause == "worker-died")


@pytest.mark.parametrize("error", [RepsrError("a defect"), OSError(13, "Permission denied"), KeyError("x")])
def test_defects_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)), as_problems(Admission(queue=1, uploads_bytes=1, retry_after_s=lambda: 9)):
        raise error
