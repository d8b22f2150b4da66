"""The queue: nothing is lost, and turns are fair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repsr_serve.batcher.queue import FairQueue, Flow

ADD, TAKE, DROP = "add", "take", "drop"
operations = st.lists(
    st.one_of(
        st.tuples(st.just(ADD), st.integers(0, 4), st.integers(0, 2), st.integers(1, 1000)),
        st.tuples(st.just(TAKE), st.integers(1, 5)),
        st.tuples(st.just(DROP), st.integers(0, 4)),
    ),
    max_size=80,
)


@given(operations, st.integers(1, 5000))
def test_no_tile_is_lost_or_doubled_and_each_flow_keeps_its_order(steps: list[Any], credit: int) -> None:
    queue: FairQueue[tuple[int, int, int]] = FairQueue(credit)
    flows = [Flow(weight) for weight in (1, 1, 0.25, 1, 0.25)]
    waiting: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    arrived: dict[tuple[int, int, int], int] = {}

    def leave(item: tuple[int, int, int]) -> None:
        assert waiting[item[:2]].pop(0) == item  # the first of its flow in its lane
        del arrived[item]

    for now_s, step in enumerate([*steps, *[(TAKE, 3)] * len(steps)]):
        match step:
            case ("add", int(flow), int(lane), int(pixels)):
                item = (flow, lane, now_s)
                waiting[flow, lane].append(item)
                arrived[item] = now_s
                queue.add(flows[flow], lane, item, pixels=pixels, now_s=now_s)
            case ("take", int(most)) if arrived:
                size = queue.batch_size(most)
                batch = queue.take(most)
                assert 1 <= len(batch) == size <= most
                assert len({lane for _, lane, _ in batch}) == 1
                for item in batch:
                    leave(item)
            case ("drop", int(flow)):
                expected = {item for item in arrived if item[0] == flow}
                dropped = queue.drop(flows[flow])
                assert len(dropped) == len(expected)
                assert set(dropped) == expected
                for item in sorted(dropped, key=lambda item: item[2]):
                    leave(item)
            case _:
                pass
        assert len(queue) == len(arrived)
        if arrived:
            assert queue.oldest_s == min(arrived.values())
    assert not arrived


def test_all_tiles_are_given_back() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for item in range(6):
        queue.add(Flow(), item % 3, item, pixels=10, now_s=0)
    assert sorted(queue.clear()) == list(range(6))
    assert len(queue) == 0
    assert queue.clear() == []


def test_among_equals_the_first_is_first() -> None:
    queue: FairQueue[int] = FairQueue(100)
    for item in range(7):
        queue.add(Flow(), item % 3, item, pixels=10, now_s=0)
    assert [queue.take(2) for _ in range(4)] == [[0, 3], [1, 4], [2, 5], [6]]


class Load:
    """Flows that always have tiles waiting, each in its lane."""

    def __init__(self, queue: FairQueue[Flow], most: int) -> None:
        self.queue, self.most = queue, most
        self.had: dict[Flow, float] = defaultdict(float)
        """Pixels."""
        self._tiles: dict[Flow, tuple[int, Iterator[int]]] = {}
        self._sizes: dict[Flow, list[int]] = defaultdict(list)

    def join(self, weight: float, lane: int, sizes: Iterator[int], waiting: int) -> Flow:
        flow = Flow(weight)
        self._tiles[flow] = lane, sizes
        for _ in range(waiting):
            self._add(flow)
        return flow

    def _add(self, flow: Flow) -> None:
        lane, sizes = self._tiles[flow]
        pixels = next(sizes)
        self._sizes[flow].append(pixels)
        self.queue.add(flow, lane, flow, pixels=pixels, now_s=0)

    def run(self, batches: int) -> list[list[Flow]]:
        """Take batches; for every tile that goes, another one of its flow comes."""
        taken: list[list[Flow]] = []
        for _ in range(batches):
            taken.append(self.queue.take(self.most))
            for flow in taken[-1]:
                self.had[flow] += self._sizes[flow].pop(0)
                if flow in self._tiles:
                    self._add(flow)
        return taken


LARGEST = 1000


def random_sizes(random: Random, largest: int) -> Iterator[int]:
    while True:
        yield random.randint(1, largest)


class Unweighted(FairQueue[Flow]):
    """The planted fault: it takes all flows for equal."""

    def add(self, flow: Flow, lane: Any, item: Flow, *, pixels: int, now_s: float) -> None:
        flow.weight = 1.0
        super().add(flow, lane, item, pixels=pixels, now_s=now_s)


class FirstCome(FairQueue[Flow]):
    """The planted fault: whoever comes first is served first, however much it had."""

    def add(self, flow: Flow, lane: Any, item: Flow, *, pixels: int, now_s: float) -> None:
        super().add(flow, lane, item, pixels=1, now_s=now_s)


def spread(queue: FairQueue[Flow], weights: list[float], most: int, own_lanes: bool, seed: int, batches: int) -> float:
    """Between which bounds what flows have had, by their weights, stays: for any stretch of time."""
    load, random = Load(queue, most), Random(seed)
    flows: dict[Flow, float] = {}
    for index, weight in enumerate(weights):
        sizes = random_sizes(random, LARGEST >> index % 3)
        flows[load.join(weight, index if own_lanes else 0, sizes, waiting=2 * most)] = weight
    widest = 0.0
    for _ in range(batches):
        load.run(1)
        shares = [load.had[flow] / weight for flow, weight in flows.items()]
        widest = max(widest, max(shares) - min(shares))
    return widest


seeds = st.integers(0, 2**32)
weights_of = st.lists(st.sampled_from([1.0, 0.25]), min_size=2, max_size=6)


@given(weights_of, st.integers(1, 8), st.booleans(), seeds)
@settings(deadline=None, max_examples=40)
def test_flows_get_what_their_weights_say(weights: list[float], most: int, own_lanes: bool, seed: int) -> None:
    largest_charge = LARGEST / min(weights) * (most if own_lanes else 1)
    assert spread(FairQueue(most * LARGEST), weights, most, own_lanes, seed, 200) <= largest_charge


@pytest.mark.parametrize("faulty", [Unweighted, FirstCome])
def test_an_unfair_queue_is_seen(faulty: type[FairQueue[Flow]]) -> None:
    assert spread(faulty(LARGEST), [1.0, 0.25, 1.0], 1, False, 0, 200) > 4 * LARGEST


@given(weights_of, st.integers(1, 8), st.booleans(), seeds)
@settings(deadline=None, max_examples=40)
def test_a_newcomer_is_in_the_next_batch(weights: list[float], most: int, own_lanes: bool, seed: int) -> None:
    load, random = Load(FairQueue(most * LARGEST), most), Random(seed)
    for index, weight in enumerate(weights):
        load.join(weight, index if own_lanes else 0, random_sizes(random, LARGEST), waiting=2 * most)
    load.run(200)
    newcomers = [load.join(1, lane, count(LARGEST), waiting=1) for lane in (0, 99)]
    assert [newcomers[0]] == [flow for flow in load.run(1)[0] if flow in newcomers]
    assert [newcomers[1]] in load.run(2)


@given(st.integers(1, 8), st.sampled_from([1.0, 0.25]), st.sampled_from([1.0, 8.0]), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_newcomers_without_end_starve_nobody(others: int, weight: float, their_weight: float, most: int) -> None:
    """As many pictures of one tile wait at any time, and the next comes when one goes."""
    queue: FairQueue[Flow] = FairQueue(most * LARGEST)
    load = Load(queue, most)
    large = load.join(weight, 0, count(LARGEST, 0), waiting=most)
    had = 0
    for _ in range(others):
        queue.add(newcomer := Flow(their_weight), 1, newcomer, pixels=LARGEST, now_s=0)
    for _ in range(600):
        for flow in queue.take(most):
            if flow is large:
                had += 1
                queue.add(large, 0, large, pixels=LARGEST, now_s=0)
            else:
                queue.add(newcomer := Flow(their_weight), 1, newcomer, pixels=LARGEST, now_s=0)
    assert had >= 600 * weight / (3 * (weight + their_weight * others))


@given(st.integers(2, 6), st.integers(0, 5), seeds)
@settings(deadline=None, max_examples=20)
def test_a_small_picture_is_done_before_other_newcomers(tiles: int, large: int, seed: int) -> None:
    """All its tiles are taken one after the other, though a large picture comes before each of them is."""
    load, random = Load(FairQueue(LARGEST), 1), Random(seed)
    for _ in range(large):
        load.join(1, 0, random_sizes(random, LARGEST), waiting=2)
    load.run(20 * bool(large))
    queue, small = load.queue, Flow(8)
    for _ in range(tiles):
        queue.add(small, 1, small, pixels=LARGEST // 2, now_s=0)
    for _ in range(tiles):
        load.join(1, 0, count(LARGEST, 0), waiting=2)
        assert queue.take(1) == [small]


@given(st.integers(1, 500), st.integers(2, 8))
@settings(deadline=None, max_examples=20)
def test_room_in_batches_is_not_charged_for_without_end(batches: int, most: int) -> None:
    """One flow fills up the batches of another; when that leaves and a third one comes, it has its turns."""
    load = Load(FairQueue(most * LARGEST), most)
    narrow = load.join(1, 0, count(LARGEST, 0), waiting=1)
    wide = load.join(1, 0, count(LARGEST, 0), waiting=most)
    load.run(batches)
    assert load.had[wide] >= (most - 1) * load.had[narrow]
    load.queue.drop(narrow)
    load.join(1, 1, count(LARGEST, 0), waiting=most)
    assert any(wide in batch for batch in load.run(4))
