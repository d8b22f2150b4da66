"""The process that talks to Ray: `python -m repsr_deploy.cluster.driver` takes an order on standard input and gives
messages on standard output.

A process of its own, because Ray writes to both streams as it likes and ends the process when it loses the cluster.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from repsr_deploy.cluster.conductor import Conductor
from repsr_deploy.cluster.order import Failed, Finished, Message, Order
from repsr_deploy.errors import RepsrError

LOCAL = "local"
OBJECT_STORE_BYTES = 2**27
"""Of a cluster that is started here. Pictures do not pass through it, a model does."""


def main() -> None:
    """Carry out one order."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as messages:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        order: Order = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            for message in _carried_out(order):
                _send(messages, message)
        except Exception as error:
            _send(messages, Failed(error=error))


def _send(messages: Any, message: Message) -> None:
    pickle.dump(message, messages)
    messages.flush()


def _end_with_parent() -> None:
    """Standard input ends when the process that gave the order does, however it does."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _carried_out(order: Order) -> Iterator[Message]:
    """The messages of the conductor."""
    import ray

    with _connected(order.address):
        conductor: Any = ray.remote(num_cpus=0)(Conductor).remote(pickle.dumps(order))
        while True:
            said: Any = ray.get(conductor.next.remote())
            message: Message = pickle.loads(said)
            yield message
            if isinstance(message, Failed | Finished):
                return


@contextmanager
def _connected(address: str) -> Generator[None]:
    import ray

    here: dict[str, Any] = {}
    if address == LOCAL:
        here = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=address, log_to_driver=False, **here)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError...: by what is wrong
        reason = " ".join(str(error).split())[:300]
        raise RepsrError(
            f"cannot use the Ray cluster {address}: {reason}; check the address, that Ray and Python have the same "
            "versions there, and where the cluster wants a token, RAY_AUTH_MODE=token and the token"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
