"""Messages between the codec and its workers: one line of JSON and the descriptors that go with it.

Descriptors are how pixels travel: what one process writes into a buffer the other maps. One request is under way per
worker, so a line that has arrived is a whole message, and nothing follows it.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from typing import Any, cast

from repsr_serve.buffers import Buffer

MAX_MESSAGE_BYTES = 2**16
MAX_BUFFERS = 2
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


@dataclass(frozen=True)
class Message:
    """Words and buffers. Whoever has received one closes its buffers."""

    words: dict[str, Any]
    buffers: list[Buffer] = field(default_factory=list[Buffer])

    def close(self) -> None:
        """Close the buffers; may be called again."""
        for buffer in self.buffers:
            buffer.close()


class BrokenMessageError(Exception):
    """The other side sent what is no message."""


def send(connection: socket.socket, message: Message) -> None:
    """Send a message; its buffers stay the sender's.

    Raises:
        OSError: the other side is gone, or does not read.
    """
    line = json.dumps(message.words).encode() + b"\n"
    sent = socket.send_fds(connection, [line], [buffer.fd for buffer in message.buffers])
    if sent < len(line):
        connection.sendall(line[sent:])


class Inbox:
    """Puts messages together from what arrives."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._buffers: list[Buffer] = []

    def receive(self, connection: socket.socket) -> Message | None:
        """Read once.

        Returns:
            A message, or None when more of it is to come.

        Raises:
            EOFError: the other side is gone.
            BlockingIOError: nothing has arrived.
            BrokenMessageError: what arrived is no message.
            OSError: the connection broke.
        """
        data, descriptors, flags, _ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, MAX_BUFFERS, _FLAGS)
        self._buffers += [Buffer(descriptor) for descriptor in descriptors]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise EOFError
        if flags & socket.MSG_CTRUNC:
            raise BrokenMessageError("descriptors were lost: this process has as many open files as it may")
        self._line += data
        if not self._line.endswith(b"\n"):
            if len(self._line) > MAX_MESSAGE_BYTES:
                raise BrokenMessageError(f"a message is longer than {MAX_MESSAGE_BYTES} bytes")
            return None
        line, buffers = bytes(self._line), self._buffers
        self._line, self._buffers = bytearray(), []
        try:
            words = json.loads(line)
        except ValueError as error:
            raise BrokenMessageError(f"a message is no JSON: {line[:100]!r}") from error
        if not isinstance(words, dict):
            raise BrokenMessageError(f"a message is no JSON object: {line[:100]!r}")
        return Message(cast(dict[str, Any], words), buffers)
