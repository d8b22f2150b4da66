"""Bytes that several processes share without a name: nothing is left behind, whoever dies."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from types import TracebackType

CHUNK_BYTES = 2**18


class Buffer:
    """A file in memory that only its descriptors know (memfd; where there is none, a file without a name).

    A descriptor can be sent to another process (`socket.send_fds`), which maps the same pages. The memory goes back to
    the system when the last descriptor and the last mapping are gone.

    Args:
        fd: to be taken over; a new, empty file without it.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = _anonymous() if fd is None else fd
        """Closed by `close`; -1 from then on."""

    @classmethod
    def of(cls, data: bytes | memoryview) -> Buffer:
        """A buffer with a content."""
        buffer = cls()
        buffer.write(data)
        return buffer

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            OSError: no memory (ENOSPC, ENOMEM).
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def resize(self, size_bytes: int) -> None:
        """Cut off, or fill up with zeros that take no memory until they are written."""
        os.ftruncate(self.fd, size_bytes)

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self.fd).st_size

    def map(self, *, writable: bool = False) -> mmap.mmap | bytes:
        """Its content in this process's memory, for as long as somebody holds the result; `bytes` when it is empty."""
        if self.size == 0:
            return b""
        return mmap.mmap(self.fd, self.size, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)

    def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Its content, piece by piece."""
        position = 0
        while chunk := os.pread(self.fd, chunk_bytes, position):
            yield chunk
            position += len(chunk)

    def close(self) -> None:
        """Give the descriptor back; may be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Buffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("repsr-serve")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
