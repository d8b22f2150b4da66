"""Work in stages that overlap: each in threads of its own, few items between them, one failure ends all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

INTERRUPTIBLE_S = 0.5
"""A wait of the main thread: Windows looks for Ctrl-C only between waits."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step that every item takes."""

    name: str
    work: Callable[[Any], Any]
    """Makes of an item what the next stage gets. Called from several threads where there are several workers."""
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class StageUse:
    """What a stage has done so far."""

    busy_s: float
    """Seconds in which its workers worked, all added up, work under way included, waiting not."""
    items: int
    """Finished."""
    workers: int


@dataclass
class _Gap:
    """What waits before a stage, by number; the last one has the results."""

    changed: threading.Condition
    """Of the pipeline's lock. One for each gap: who waits for another one is not woken."""
    room: int
    ordered: bool
    producers: int
    items: dict[int, Any] = field(default_factory=dict[int, Any])
    due: int = 0

    def takes(self, number: int) -> bool:
        return len(self.items) < self.room or (self.ordered and number == self.due)

    def next(self) -> int | None:
        """Number of the item to go on with: the first that came, or in order the one that is due."""
        number = self.due if self.ordered else next(iter(self.items), self.due)
        return number if number in self.items else None

    def pop(self, number: int) -> Any:
        self.due += 1
        return self.items.pop(number)


@dataclass
class _Meter:
    """Times of one stage."""

    workers: int
    done_s: float = 0.0
    items: int = 0
    started: dict[int, float] = field(default_factory=dict[int, float])

    def use(self) -> StageUse:
        now = time.perf_counter()
        under_way_s = sum(now - start for start in self.started.values())
        return StageUse(busy_s=self.done_s + under_way_s, items=self.items, workers=self.workers)


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _StoppedError(RuntimeError):
    """Ends a thread whose pipeline stops."""

    def __init__(self) -> None:
        super().__init__("the pipeline was stopped before its end")


_END = object()


class Pipeline:
    """Items of a source, taken through stages that work at the same time; a context manager that iterates over results.

        with Pipeline(paths, [Stage(name="load", work=load, workers=2), Stage(name="save", work=save)]) as pipeline:
            for result in pipeline: ...

    What a stage or the source raises is raised at the consumer, in place of the result. Leaving the block, for whatever
    reason, stops and joins all threads: work under way is waited for, what waits is dropped. Work that takes long can
    look at `stopped` and give up by raising anything.

    Args:
        source: iterated in a thread of its own; a generator is closed there.
        stages: at least one.
        waiting: items that may wait before each stage, and results for the consumer; in order one more.
        ordered: results come in the order of the source, not as they are finished.
        source_name: makes the source count as a stage of this name, for its time.
        weigh: what an item is to count against `capacity` until the consumer has taken its result, as in bytes.
        capacity: of all items under way. One that is heavier is taken in when it is alone.
        stopped: set when the pipeline stops before its end.

    Raises:
        ValueError: no stage, a stage without workers, two of one name, or no room between them.
    """

    def __init__(
        self,
        source: Iterable[Any],
        stages: Sequence[Stage],
        *,
        waiting: int = 2,
        ordered: bool = False,
        source_name: str = "",
        weigh: Callable[[Any], int] | None = None,
        capacity: int = 0,
        stopped: threading.Event | None = None,
    ) -> None:
        names = [name for name in (source_name, *(stage.name for stage in stages)) if name]
        if not stages or waiting < 1 or len({*names}) < len(names) or min(stage.workers for stage in stages) < 1:
            raise ValueError(f"stages are {[*stages]}, waiting is {waiting}; expected distinct ones, and 1 or more")
        self._source, self._stages, self._weigh, self._capacity = source, stages, weigh, capacity
        self._lock = threading.Lock()
        self._stopped = stopped or threading.Event()
        producers = [1, *(stage.workers for stage in stages)]
        self._gaps = [
            _Gap(changed=threading.Condition(self._lock), room=waiting, ordered=ordered, producers=count)
            for count in producers
        ]
        self._lighter = threading.Condition(self._lock)
        self._meters = [_Meter(workers=count) for count in producers]
        named = zip((source_name, *(stage.name for stage in stages)), self._meters, strict=True)
        self._named = {name: meter for name, meter in named if name}
        self._weights: dict[int, int] = {}
        self._threads: list[threading.Thread] = []

    @property
    def use(self) -> dict[str, StageUse]:
        """What each stage has done so far, by name, in their order."""
        with self._lock:
            return {name: meter.use() for name, meter in self._named.items()}

    @property
    def limiting(self) -> str:
        """Name of the stage that is busy most of the time, for each of its workers: more of them would help."""
        use = self.use
        return max(use, key=lambda name: use[name].busy_s / use[name].workers)

    def __enter__(self) -> Pipeline:
        try:
            self._start(self._feed, 0)
            for index, stage in enumerate(self._stages):
                for _ in range(stage.workers):
                    self._start(lambda index=index: self._work(index), index + 1)
        except BaseException:
            self._end(failed=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(failed=kind is not None)

    def _end(self, *, failed: bool) -> None:
        with self._lock:
            if failed or any(gap.producers for gap in self._gaps):
                self._stopped.set()
            for changed in (self._lighter, *(gap.changed for gap in self._gaps)):
                changed.notify_all()
        for thread in self._threads:
            thread.join()
        for gap in self._gaps:
            gap.items.clear()

    def __iter__(self) -> Iterator[Any]:
        """Results, in the order asked for; only inside the `with` block.

        Raises:
            Whatever a stage or the source raised.
        """
        if not self._threads:
            raise RuntimeError("the pipeline does not run; expected `with Pipeline(...) as pipeline:`")
        while results := self._next_result():
            yield results.pop()

    def _next_result(self) -> list[Any]:
        """One, or none at the end. In a list, from which the consumer takes it: no name here keeps it meanwhile."""
        entry = self._take(len(self._stages), INTERRUPTIBLE_S)
        if entry is None:
            return []
        number, result = entry
        with self._lock:
            self._weights.pop(number, None)
            self._lighter.notify_all()
        if isinstance(result, _Failure):
            try:
                raise result.error
            finally:
                del entry, result  # else the traceback, which has these names, would keep itself and all items in it
        return [result]

    def _start(self, work: Callable[[], None], index: int) -> None:
        """Run `work` in a thread that produces for a gap."""
        gap = self._gaps[index]

        def run() -> None:
            try:
                work()
            except _StoppedError:
                pass
            finally:
                with self._lock:
                    gap.producers -= 1
                    gap.changed.notify_all()

        # a daemon: a second Ctrl-C, while the first one joins, need not wait for work under way
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _feed(self) -> None:
        number = 0
        try:
            iterator = iter(self._source)
            try:
                while self._feed_one(iterator, number):
                    number += 1
            finally:
                if isinstance(iterator, Generator):
                    iterator.close()
        except _StoppedError:
            raise
        except BaseException as error:
            self._fail(number, error)

    def _feed_one(self, iterator: Iterator[Any], number: int) -> bool:
        with self._busy(self._meters[0]):
            item = next(iterator, _END)
        if item is _END:
            return False
        if self._weigh is not None:
            self._admit(number, self._weigh(item))
        self._put(0, number, item)
        return True

    def _admit(self, number: int, weight: int) -> None:
        with self._lock:
            self._wait(
                self._lighter, lambda: not self._weights or sum(self._weights.values()) + weight <= self._capacity
            )
            self._weights[number] = weight

    def _work(self, index: int) -> None:
        while self._work_one(index):
            pass

    def _work_one(self, index: int) -> bool:
        """One item of a stage. A function of its own, as names in a loop would keep items while it waits."""
        entry = self._take(index)
        if entry is None:
            return False
        number, item = entry
        del entry
        try:
            with self._busy(self._meters[index + 1]):
                made = self._stages[index].work(item)
        except BaseException as error:
            self._fail(number, error)
            return True
        del item
        self._put(index + 1, number, made)
        return True

    @contextmanager
    def _busy(self, meter: _Meter) -> Generator[None]:
        thread, start = threading.get_ident(), time.perf_counter()
        with self._lock:
            meter.started[thread] = start
        try:
            yield
        finally:
            with self._lock:
                del meter.started[thread]
                meter.done_s += time.perf_counter() - start

    def _take(self, index: int, timeout_s: float | None = None) -> tuple[int, Any] | None:
        """The next item of a gap; None when no more will come."""
        gap = self._gaps[index]
        with self._lock:
            self._wait(gap.changed, lambda: gap.next() is not None or not gap.producers, timeout_s)
            number = gap.next()
            if number is None:
                return None
            gap.changed.notify_all()
            return number, gap.pop(number)

    def _put(self, index: int, number: int, item: Any) -> None:
        gap = self._gaps[index]
        with self._lock:
            self._meters[index].items += 1
            self._wait(gap.changed, lambda: gap.takes(number))
            gap.items[number] = item
            gap.changed.notify_all()

    def _fail(self, number: int, error: BaseException) -> None:
        """Let the consumer have an error, past the stages between; there is always room for it."""
        results = self._gaps[-1]
        with self._lock:
            results.items[number] = _Failure(error)
            results.changed.notify_all()

    def _wait(self, changed: threading.Condition, ready: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Wait, with the lock held, until something is so.

        Raises:
            _StoppedError: the pipeline stops.
        """
        while True:
            if self._stopped.is_set():
                raise _StoppedError
            if ready():
                return
            changed.wait(timeout_s)
