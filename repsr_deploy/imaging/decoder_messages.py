"""What the libraries behind OpenCV and Pillow print on the process's stderr, as text.

stderr is one for the whole process, so what is printed while several threads decode cannot be told apart. It is rare
that anything is: threads decode at the same time, and those that were when something was printed do it again, alone.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TypeVar

T = TypeVar("T")

_DECODER_WORDS = re.compile(
    rb"libpng (?:warning|error): |\[ *(?:WARN|ERROR)|^>|^\s*$|Unknown Adobe color|(?:Warning: )?unknown JFIF revision"
    rb"|(?:Corrupt JPEG data|Invalid JPEG file structure|Not a JPEG file): |Premature end of JPEG file$"
    rb"|Invalid SOS parameters for sequential JPEG$|Unsupported JPEG (?:process|data precision)"
    rb"|Inconsistent progression|(?:Empty JPEG image|JPEG datastream) |\b\w*(?:TIFF|Decode|Setup|JPEGLib|OJPEG)\w*: |^tempfile\.tif:",
    re.MULTILINE,
)
"""What libraries say in full, also libjpeg's warnings that do not name it (jerror.h), and the further lines of OpenCV's
errors."""
_LOG_LINE = re.compile(rb"\brepsr-\w+: ")  # of this project's commands, which may quote such words
_WHERE = re.compile(r"^\[ *\w+:\S+\] global \S+ \S+ |OpenCV\(\S+\) \S+ error: ")  # in OpenCV: of no use to readers
_MOST_LINES = 10
_LONGEST_LINE = 300


def with_messages(work: Callable[[], T]) -> tuple[T, list[str]]:
    """The result of some work, and the first lines that libraries of images printed during it.

    Whatever else is printed meanwhile is passed on.

    Args:
        work: is done once or twice.
    """
    visit = _catch.enter(alone=False)
    try:
        result = work()
    finally:
        _catch.leave(visit)
    if visit.messages and visit.in_company:
        visit = _catch.enter(alone=True)
        try:
            result = work()
        finally:
            _catch.leave(visit)
    return result, visit.messages


@dataclass(eq=False)
class _Visit:
    """Work of one thread."""

    alone: bool
    """No other thread may work meanwhile."""
    messages: list[str] = field(default_factory=list[str])
    in_company: bool = False
    """Another thread was at work, too."""


class _Catch:
    """The process's stderr, which goes to a file while work is done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._visits: list[_Visit] = []
        self._alone = 0  # who works, or waits to work, alone
        self._file: IO[bytes] | None = None
        self._real = -1
        self._seen_bytes = 0

    def enter(self, *, alone: bool) -> _Visit:
        visit = _Visit(alone)
        with self._changed:
            self._alone += alone
            try:
                self._changed.wait_for(lambda: not (self._visits if alone else self._alone))
                if not self._visits:
                    self._start()
            except BaseException:
                self._alone -= alone
                self._changed.notify_all()
                raise
            self._visits.append(visit)
            for each in self._visits:
                each.in_company |= len(self._visits) > 1
        return visit

    def leave(self, visit: _Visit) -> None:
        with self._changed:
            self._sort_lines(last=len(self._visits) == 1)
            self._visits.remove(visit)
            if not self._visits:
                self._stop()
            self._alone -= visit.alone
            self._changed.notify_all()

    def _start(self) -> None:
        self._file, self._seen_bytes = _nameless_file(), 0
        sys.stderr.flush()
        self._real = os.dup(2)
        os.dup2(self._file.fileno(), 2)

    def _stop(self) -> None:
        os.dup2(self._real, 2)
        os.close(self._real)
        if self._file is not None:
            self._file.close()

    def _sort_lines(self, *, last: bool) -> None:
        """Give what has been printed since the last time to the threads at work, and pass on what is none of theirs."""
        sys.stderr.flush()
        printed = os.pread(2, os.fstat(2).st_size - self._seen_bytes, self._seen_bytes)
        if not last:  # a line may be half there
            printed = printed[: printed.rfind(b"\n") + 1]
        self._seen_bytes += len(printed)
        for line in printed.splitlines(keepends=True):
            words = None if _LOG_LINE.search(line) else _DECODER_WORDS.search(line)
            start = len(line) if words is None else words.start()
            os.write(self._real, line[:start])  # as of a progress bar, which ends no line
            if line[start:].strip():
                text = _WHERE.sub("", line[start:].decode(errors="replace")).strip()[:_LONGEST_LINE]
                for visit in self._visits:
                    if len(visit.messages) < _MOST_LINES:
                        visit.messages.append(text)


_catch = _Catch()


def _nameless_file() -> IO[bytes]:
    """A file without a name; in memory where there is such a thing, as a service may have no disk to write to."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("decoder messages"), "w+b")
    return tempfile.TemporaryFile()
