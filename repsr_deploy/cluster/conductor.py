"""The Ray Data pipeline, in an actor of its own: from outside (`ray://`) a cluster takes actors, but no pipelines."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from repsr_deploy.cluster.crew import Node, crew_for
from repsr_deploy.cluster.order import Connected, Failed, Finished, Message, Order
from repsr_deploy.cluster.worker import Ledger, Worker

MOST_BLOCKS = 4096
"""Into which the rows are cut: what is done again when a worker dies. Each one costs Ray a millisecond or so."""


class Conductor:
    """Carries out one order (pickled), and says what comes of it when it is asked."""

    def __init__(self, order: bytes) -> None:
        self._messages = _carried_out(pickle.loads(order))

    def next(self) -> bytes:
        """The next message, pickled, when there is one; `Failed` or `Finished` in the end."""
        try:
            message: Message = next(self._messages)
        except StopIteration:
            message = Finished()
        except Exception as error:  # errors of Ray may carry what cannot travel
            try:
                return pickle.dumps(Failed(error=error))
            except Exception:
                message = Failed(error=RuntimeError(repr(error)))
        return pickle.dumps(message)


def _carried_out(order: Order) -> Iterator[Message]:
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_items

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    crew = crew_for(order, [Node(cpus=node.get("CPU", 0), gpus=node.get("GPU", 0)) for node in alive])
    yield Connected(workers=crew.size)
    DataContext.get_current().enable_progress_bars = False
    rows = [{"index": index, "job": pickle.dumps(job)} for index, job in enumerate(order.jobs)]
    model = None if order.model is None else (order.model.name, ray.put(order.model.content))
    ledger: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Ledger).remote()
    pictures = from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS)).map_batches(
        Worker,
        fn_constructor_args=(order.prepare, model, ledger, order.log_level),
        compute=ActorPoolStrategy(size=crew.size),
        batch_size=1,
        num_cpus=crew.cpus,
        num_gpus=crew.gpus,
    )
    for row in pictures.iter_rows():
        yield pickle.loads(row["message"])
