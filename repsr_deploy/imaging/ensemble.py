"""Self-ensemble: the mean of what a network makes of the eight flips and turns of a picture, each turned back.

Source: Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPR Workshops 2017, section 3.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes.base import CheckedRuntime, Limits, Runtime

VIEWS = 8


class SelfEnsemble(CheckedRuntime):
    """A runtime that runs another one eight times, and gives the mean in float32; 8-bit samples are rounded after it.

    It sees as far as the other one, so tiles, transparency and 16 bits work as with that. One view is computed at a
    time: it takes the memory of the other one and an output more.

    Raises:
        UsageError: an engine whose heights and widths have nothing in common, which takes no turned picture.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name, self.info, self.precision = runtime.name, runtime.info, runtime.precision
        self.limits = None if runtime.limits is None else _for_turned(runtime.limits, runtime.info.name)

    def _run(self, batch: NDArray[Any]) -> NDArray[Any]:
        images = batch.dtype == np.uint8
        run, sides = (self._runtime.run_images, (1, 2)) if images else (self._runtime.run, (2, 3))
        total: Any = None
        for turns in range(4):
            turned = np.rot90(batch, turns, sides)
            for view in (turned, np.flip(turned, sides[1])):
                made = run(np.ascontiguousarray(view))
                if view is not turned:
                    made = np.flip(made, sides[1])
                made = np.rot90(made, -turns, sides)
                total = made.astype(np.float32) if total is None else np.add(total, made, out=total)
        total *= np.float32(1 / VIEWS)
        return np.rint(total).astype(np.uint8) if images else np.ascontiguousarray(total)


def _for_turned(limits: Limits, name: str) -> Limits:
    """Shapes that are taken both ways."""
    side = max(limits.height[0], limits.width[0]), min(limits.height[1], limits.width[1])
    if side[0] > side[1]:
        raise UsageError(
            f"{name} was built for heights {limits.height[0]} to {limits.height[1]} and widths {limits.width[0]} to "
            f"{limits.width[1]}, and a self-ensemble turns pictures; build it for a shape that both allow "
            "(`repsr-fuse export --shape MIN:OPT:MAX`), or leave --tta out"
        )
    return Limits(count=limits.count, height=side, width=side)
