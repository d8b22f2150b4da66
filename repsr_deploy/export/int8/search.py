"""Which layers stay float."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def fewest(order: Sequence[str], holds: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    """The shortest beginning of `order`, not empty, that `holds`, by bisection; all of it where no shorter one does.

    Args:
        order: layers, the most sensitive first.
        holds: whether the network is good enough with these layers float. The more, the better, it is assumed; that it
            is with all of them is not asked.
    """
    too_few, enough = 0, len(order)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if holds(order[:middle]):
            enough = middle
        else:
            too_few = middle
    return tuple(order[:enough])
