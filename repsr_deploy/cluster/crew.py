"""How many workers a cluster gets, and what each of them takes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from repsr_deploy.cluster.order import Order
from repsr_deploy.errors import UsageError

WORKERS_PER_GPU = 2
"""One decodes and encodes while the other has the GPU."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a machine of the cluster has."""

    cpus: float
    gpus: float


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Workers, all alike."""

    size: int
    cpus: int
    gpus: float


def crew_for(order: Order, nodes: Sequence[Node]) -> Crew:
    """As many workers as there is room for, or as were asked for; on GPUs alone where there are some and one is wanted.

    Raises:
        UsageError: no machine has the cores that a worker wants.
    """
    wants_gpu = order.uses_gpu and any(node.gpus >= 1 for node in nodes)
    share = 1 / WORKERS_PER_GPU if wants_gpu else 0.0
    rooms = [
        int(min(node.cpus // order.threads, node.gpus // share) if wants_gpu else node.cpus // order.threads)
        for node in nodes
    ]
    room = order.workers or sum(rooms)
    if room < 1:
        most = max((node.cpus for node in nodes), default=0)
        raise UsageError(
            f"a worker wants {order.threads} cores, and the largest machine of the cluster at {order.address} has "
            f"{most:g}; choose fewer --threads, or say with --jobs 1:WORKERS:1 how many workers there will be room for"
        )
    return Crew(size=min(room, len(order.jobs)), cpus=order.threads, gpus=share)
