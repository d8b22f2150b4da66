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
from typing import TypeVar

T = TypeVar("T")

_DECODER_WORDS = re.compile(
    rb"libpng (?:warning|error): |\[ *(?:WARN|ERROR)|^>|^\s*$|Unknown Adobe color|(?:Warning: )?unknown JFIF revision"
    rb"|(?:Corrupt JPEG data|Invalid JPEG file structure|Not a JPEG file): |Premature end of JPEG file$"
    rb"|Invalid SOS parameters for sequential JPEG$|Unsupported JPEG (?:process|data precision)"
    rb"|Inconsistent progression|(?:Empty JPEG image|JPEG datastream) "
    rb"|\b\w*(?:TIFF|Decode|Setup|JPEGLib|OJPEG)\w*: |^tempfile\.tif:",
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
        # one for good: what another thread prints may get into it when stderr has just been given back
        self._caught = _nameless_file()
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
            last = len(self._visits) == 1
            if last:  # before the file is read: other threads print at any time
                sys.stderr.flush()
                os.dup2(self._real, 2)
            self._sort_lines(last=last)
            self._visits.remove(visit)
            if last:
                os.close(self._real)
            self._alone -= visit.alone
            self._changed.notify_all()

    def _start(self) -> None:
        sys.stderr.flush()
        self._real = os.dup(2)
        self._sort_lines(last=True)
        os.dup2(self._caught, 2)

    def _sort_lines(self, *, last: bool) -> None:
        """Give what has been printed since the last time to the threads at work, and pass on what is none of theirs."""
        sys.stderr.flush()
        printed = os.pread(self._caught, os.fstat(self._caught).st_size - self._seen_bytes, self._seen_bytes)
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


def _nameless_file() -> int:
    """A file without a name; in memory where there is such a thing, as a service may have no disk to write to.

    It is appended to: threads that print at the same time would write to the same place.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("decoder messages")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    if sys.platform != "win32":
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND | fcntl.fcntl(descriptor, fcntl.F_GETFL))
    return descriptor


_catch = _Catch()
