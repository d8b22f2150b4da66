"""One worker process as the service sees it: started, spoken to, watched, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from repsr_serve.codec.wire import BrokenMessageError, Inbox, Message, send

_POLL_S = 0.005


class WorkerProcess:
    """Runs `repsr_serve.codec.worker`. All in the event loop that makes it; no call waits for the process.

    Args:
        memory_bytes, niceness: see `worker.main`.
        on_message: called with what it sends; the callee closes the message.
        on_end: called once, when the connection is gone; not after `end`.

    Raises:
        OSError: no process, descriptor or memory for it.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        niceness: int,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
    ) -> None:
        self._on_message, self._on_end = on_message, on_end
        self._inbox = Inbox()
        self._loop = asyncio.get_running_loop()
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        arguments = [theirs.fileno(), memory_bytes, niceness]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "repsr_serve.codec.worker", *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=_environment(),
                    process_group=0,  # an interrupt from the terminal is the service's
                )
        except BaseException:
            self._connection.close()
            raise
        self._loop.add_reader(self._connection, self._read)

    @property
    def pid(self) -> int:
        """Process number."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a request, or end the worker when it does not take it."""
        try:
            send(self._connection, message)
        except OSError:
            self._lost()

    def kill(self) -> None:
        """End the process, whatever it does; `on_end` follows."""
        self._process.kill()

    async def end(self) -> None:
        """End the process and wait until the system has forgotten it, also when cancelled; may be called again."""
        self._disconnect()
        self._process.kill()
        cancelled: asyncio.CancelledError | None = None
        while self._process.poll() is None:
            try:
                await asyncio.sleep(_POLL_S)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _read(self) -> None:
        try:
            message = self._inbox.receive(self._connection)
        except BlockingIOError:
            return
        except (EOFError, OSError, BrokenMessageError):
            self._lost()
            return
        if message is not None:
            self._on_message(message)

    def _lost(self) -> None:
        if self._connection.fileno() >= 0:
            self._disconnect()
            self._on_end()

    def _disconnect(self) -> None:
        if self._connection.fileno() >= 0:
            self._loop.remove_reader(self._connection)
            self._connection.close()


def _environment() -> dict[str, str]:
    """This process's, the path that it imports from, one thread for NumPy's library, and large pictures' memory to be
    given back when they are done (glibc would keep up to 64 MB; mallopt(3))."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    memory = {"MALLOC_MMAP_THRESHOLD_": str(2**22), "MALLOC_TRIM_THRESHOLD_": str(2**25)}
    return {**os.environ, **threads, **memory, "PYTHONPATH": path}
