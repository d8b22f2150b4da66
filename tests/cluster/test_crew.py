"""How many workers a cluster gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.cluster.crew import Crew, Node, crew_for
from repsr_deploy.cluster.order import Order
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.folders import Job
from tests.cluster.work import prepare


def order(pictures: int = 100, threads: int = 1, workers: int | None = None, *, uses_gpu: bool = False) -> Order:
    jobs = [Job(Path(f"/in/{each}.png"), Path(f"/out/{each}.png")) for each in range(pictures)]
    return Order(
        address="auto", jobs=jobs, prepare=prepare, model=None, threads=threads, workers=workers, uses_gpu=uses_gpu,
        log_level=30,
    )  # fmt: skip


FARM = [Node(cpus=8, gpus=0), Node(cpus=7.5, gpus=0), Node(cpus=2, gpus=0)]
MIXED = [Node(cpus=16, gpus=2), Node(cpus=3, gpus=4), Node(cpus=64, gpus=0)]


@pytest.mark.parametrize(
    ("asked", "nodes", "crew"),
    [
        (order(), FARM, Crew(size=17, cpus=1, gpus=0)),
        (order(threads=4), FARM, Crew(size=3, cpus=4, gpus=0)),
        (order(pictures=2), FARM, Crew(size=2, cpus=1, gpus=0)),
        (order(workers=5), FARM, Crew(size=5, cpus=1, gpus=0)),
        (order(workers=40), [Node(cpus=0, gpus=0)], Crew(size=40, cpus=1, gpus=0)),
        (order(uses_gpu=True), FARM, Crew(size=17, cpus=1, gpus=0)),
        (order(), MIXED, Crew(size=83, cpus=1, gpus=0)),
        (order(uses_gpu=True), MIXED, Crew(size=7, cpus=1, gpus=0.5)),
        (order(threads=2, uses_gpu=True), MIXED, Crew(size=5, cpus=2, gpus=0.5)),
    ],
)
def test_crew(asked: Order, nodes: list[Node], crew: Crew) -> None:
    assert crew_for(asked, nodes) == crew


def test_workers_larger_than_machines_are_refused() -> None:
    with pytest.raises(UsageError, match="wants 9 cores, and the largest machine of the cluster at auto has 8"):
        crew_for(order(threads=9), FARM)
