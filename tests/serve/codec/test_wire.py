"""Messages arrive whole, in pieces, or not at all; descriptors come with them and are never lost."""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from repsr_serve.buffers import Buffer
from repsr_serve.codec.wire import MAX_MESSAGE_BYTES, BrokenMessageError, Inbox, Message, send
from tests.serve.codec.processes import open_files

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends; no descriptor is left behind."""
    gc.collect()
    before = open_files()
    left, right = socket.socketpair()
    with left, right:
        right.setblocking(False)
        yield left, right
    gc.collect()
    assert open_files() == before


def test_words_and_buffers(pair: Pair) -> None:
    left, right = pair
    with Buffer.of(b"one") as one, Buffer.of(b"two") as two:
        send(left, Message({"größe": [1, None]}, [one, two]))
    message = Inbox().receive(right)
    assert message is not None
    assert message.words == {"größe": [1, None]}
    assert [bytes(buffer.map()) for buffer in message.buffers] == [b"one", b"two"]
    assert not any(os.get_inheritable(buffer.fd) for buffer in message.buffers)
    message.close()
    message.close()


def test_in_pieces(pair: Pair) -> None:
    left, right = pair
    inbox = Inbox()
    with Buffer.of(b"pixels") as buffer:
        socket.send_fds(left, [b'{"a"'], [buffer.fd])
    assert inbox.receive(right) is None
    left.send(b": 1}")
    assert inbox.receive(right) is None
    left.send(b"\n")
    message = inbox.receive(right)
    assert message is not None
    assert message.words == {"a": 1}
    assert bytes(message.buffers[0].map()) == b"pixels"
    message.close()
    send(left, Message({"b": 2}))
    assert inbox.receive(right) == Message({"b": 2})


@pytest.mark.parametrize("sent", [b"no JSON\n", b"[1]\n", b"{}\n{}\n", b"\xff\xfe\n", b"\n"])
def test_what_is_no_message(pair: Pair, sent: bytes) -> None:
    left, right = pair
    with Buffer() as buffer:
        socket.send_fds(left, [sent], [buffer.fd])
    with pytest.raises(BrokenMessageError, match="a message is no JSON"):
        Inbox().receive(right)


def test_without_end(pair: Pair) -> None:
    left, right = pair
    left.setblocking(False)
    inbox = Inbox()
    for _ in range(MAX_MESSAGE_BYTES // 1024):
        left.send(b"a" * 1024)
        assert inbox.receive(right) is None
    left.send(b"a")
    with pytest.raises(BrokenMessageError, match="longer than"):
        inbox.receive(right)


def test_nothing_and_nobody(pair: Pair) -> None:
    left, right = pair
    with pytest.raises(BlockingIOError):
        Inbox().receive(right)
    left.close()
    with pytest.raises(EOFError):
        Inbox().receive(right)
    with pytest.raises(OSError, match="Broken pipe"):
        send(right, Message({}))


def test_too_many_open_files(pair: Pair) -> None:
    left, right = pair
    with Buffer() as buffer:
        send(left, Message({}, [buffer, buffer]))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path would be a descriptor
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        fillers = list(_until_full())
        try:
            with pytest.raises(BrokenMessageError, match="as many open files as it may"):
                Inbox().receive(right)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)


def _until_full() -> Iterator[int]:
    while True:
        try:
            yield os.open("/dev/null", os.O_RDONLY)
        except OSError:
            return
