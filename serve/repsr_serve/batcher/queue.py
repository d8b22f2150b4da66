"""Whose tiles come next: fair queueing over requests, in batches of one shape. Without threads and clocks.

After start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queuing: A Scheduling Algorithm for
Integrated Services Packet Switching Networks", SIGCOMM 1996), whose virtual time is changed in two ways: here flows
come and go without end, and a batch has places that nobody else could have had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Flow:
    """The tiles of one request, in their order."""

    weight: float = 1.0
    """Pixels that it gets for each one of a flow of weight 1."""
    account: float = field(default=0.0, init=False)
    """Pixels that it has had, divided by its weight; kept near the queue's clock."""


@dataclass(eq=False)
class _Entry(Generic[T]):
    number: int
    item: T
    pixels: int
    arrived_s: float


class FairQueue(Generic[T]):
    """Tiles that wait, in lanes of what fits into one batch.

    The flow that has had least is served first: a batch is made of the lane in which its first tile waits, and filled
    up by the flows of that lane, again in the order of what they have had. Where they are even, who came first is next.
    Flows of a weight above 1 have a head start of up to the credit, so that their second tile comes before the first of
    another newcomer.

    The clock says what a flow is taken to have had that comes now. It moves half as fast as the accounts, but stays no
    more than `credit` behind the least of them. So

    - a newcomer is in the next batch that can hold it, unless newcomers have lately had more than half of everything;
    - newcomers without end keep nobody waiting for ever: the clock passes every account, and they come after it;
    - two flows that always have tiles waiting get pixels in the ratio of their weights, but for a batch;
    - a flow that gives less than it could saves up no more than the credit;
    - what a flow gets because a batch has room costs it no more than two credits later, however long that goes on.

    Args:
        credit: pixels of a full batch.
    """

    def __init__(self, credit: int) -> None:
        self._credit = credit
        self._clock = 0.0
        self._lanes: dict[Hashable, dict[Flow, deque[_Entry[T]]]] = {}
        self._added = self._waiting = 0

    def __len__(self) -> int:
        """Tiles that wait."""
        return self._waiting

    @property
    def oldest_s(self) -> float:
        """When the tile came that waits longest; one must wait."""
        return min(waiting[0].arrived_s for flows in self._lanes.values() for waiting in flows.values())

    def add(self, flow: Flow, lane: Hashable, item: T, *, pixels: int, now_s: float) -> None:
        """Let a tile wait."""
        if not any(flow in flows for flows in self._lanes.values()):
            flow.account = max(flow.account, self._clock)
        entry = _Entry(self._added, item, pixels, now_s)
        self._lanes.setdefault(lane, {}).setdefault(flow, deque()).append(entry)
        self._added += 1
        self._waiting += 1

    def batch_size(self, most: int) -> int:
        """Tiles that `take` would give now; one must wait."""
        return min(most, sum(map(len, self._lanes[self._next_lane()].values())))

    def take(self, most: int) -> list[T]:
        """The tiles of the next batch; one must wait."""
        served = {flow for flows in self._lanes.values() for flow in flows}
        flows = self._lanes[lane := self._next_lane()]
        taken: list[_Entry[T]] = []
        while flows and len(taken) < most:
            flow = min(flows, key=lambda flow: self._turn(flow, flows[flow]))
            entry = flows[flow].popleft()
            if not flows[flow]:
                del flows[flow]
            debt_limit = self._clock + 2 * self._credit / flow.weight
            flow.account = min(flow.account, debt_limit) + entry.pixels / flow.weight
            taken.append(entry)
        if not flows:
            del self._lanes[lane]
        self._advance(sum(entry.pixels for entry in taken), served)
        return self._left(taken)

    def drop(self, flow: Flow) -> list[T]:
        """Take all tiles of a flow out, and give them back."""
        dropped: list[_Entry[T]] = []
        for lane, flows in list(self._lanes.items()):
            dropped += flows.pop(flow, ())
            if not flows:
                del self._lanes[lane]
        return self._left(dropped)

    def clear(self) -> list[T]:
        """Take all tiles out, and give them back."""
        flows = {flow for flows in self._lanes.values() for flow in flows}
        return [item for flow in flows for item in self.drop(flow)]

    def _next_lane(self) -> Hashable:
        return min(self._lanes, key=lambda lane: min(self._turn(*each) for each in self._lanes[lane].items()))

    def _turn(self, flow: Flow, waiting: deque[_Entry[T]]) -> tuple[float, int]:
        """What decides between flows: the least comes first."""
        head_start = self._credit * max(0.0, 1 - 1 / flow.weight)
        return flow.account - head_start, waiting[0].number

    def _advance(self, pixels: int, served: set[Flow]) -> None:
        """Move the clock on after a batch of so many pixels for those who waited for it."""
        least = min(flow.account for flow in served)
        moved = pixels / (2 * sum(flow.weight for flow in served))
        self._clock = max(self._clock + moved, least - self._credit)

    def _left(self, entries: list[_Entry[T]]) -> list[T]:
        self._waiting -= len(entries)
        return [entry.item for entry in entries]
