"""Who is told what the batcher does."""

from __future__ import annotations

from typing import Protocol


class BatchObserver(Protocol):
    """Is told of every batch."""

    def batch_done(self, model: str, tiles: int, capacity: int, pixels: int, seconds: float) -> None:
        """Called from a thread of the batcher when a batch has been computed.

        Args:
            model: what the model calls itself.
            tiles: in the batch.
            capacity: tiles that it could have had.
            pixels: LR pixels, halos included.
            seconds: that it took.
        """
        ...
