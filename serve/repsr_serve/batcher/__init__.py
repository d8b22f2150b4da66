"""The batcher: tiles of different requests through one model, together and in fair turns.

Towards each request it is a `Runtime`: `Upscaler(batcher.share(ticket))` gives the picture of `Upscaler(runtime)`.
"""

from __future__ import annotations

from repsr_serve.batcher.batcher import Batcher
from repsr_serve.batcher.observer import BatchObserver
from repsr_serve.batcher.ticket import Cancelled, Ticket

__all__ = ["BatchObserver", "Batcher", "Cancelled", "Ticket"]
