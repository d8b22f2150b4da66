"""What the libraries behind OpenCV print on the process's stderr, as text."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

_lock = threading.Lock()
_DECODER_LINE = re.compile(
    rb"libpng|jpeg|webp|^\[ *(WARN|ERROR)|^>|^$|^Unknown Adobe color|unknown JFIF revision|^Inconsistent progression",
    re.IGNORECASE | re.MULTILINE,
)
"""Also libjpeg's warnings that do not name it (jerror.h), and the further lines of OpenCV's errors."""
_WHERE = re.compile(r"^\[ *\w+:\S+\] global \S+ \S+ |OpenCV\(\S+\) \S+ error: ")  # in OpenCV: of no use to readers
_MOST_LINES = 10
_LONGEST_LINE = 300


@contextmanager
def decoder_messages() -> Generator[list[str]]:
    """Collect the first lines that libpng, libjpeg and OpenCV print; whatever else was printed is passed on."""
    messages: list[str] = []
    with _lock, _catch_file() as catch:
        sys.stderr.flush()
        real = os.dup(2)
        try:
            os.dup2(catch.fileno(), 2)
            yield messages
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            catch.seek(0)
            for line in catch:
                if not _DECODER_LINE.search(line):
                    os.write(real, line)
                elif line.strip() and len(messages) < _MOST_LINES:
                    messages.append(_WHERE.sub("", line.decode(errors="replace")).strip()[:_LONGEST_LINE])
            os.close(real)


def _catch_file() -> IO[bytes]:
    """A file without a name; in memory where there is such a thing, as a service may have no disk to write to."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("decoder messages"), "w+b")
    return tempfile.TemporaryFile()
