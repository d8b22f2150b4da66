"""As few layers stay float as need be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from repsr_deploy.export.int8.search import fewest


@pytest.mark.parametrize("count", [1, 2, 3, 8, 21])
def test_the_shortest_beginning_is_found(count: int) -> None:
    order = [str(index) for index in range(count)]
    for needed in range(1, count + 1):
        asked: list[int] = []

        def holds(names: Sequence[str], needed: int = needed, asked: list[int] = asked) -> bool:
            assert list(names) == order[: len(names)]
            asked.append(len(names))
            return len(names) >= needed

        assert fewest(order, holds) == tuple(order[:needed])
        assert len(asked) == len(set(asked)) <= count.bit_length()


def test_everything_where_nothing_less_holds() -> None:
    assert fewest(["a", "b", "c"], lambda names: False) == ("a", "b", "c")
