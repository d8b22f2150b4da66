"""What a running service takes of the machine: memory, descriptors, threads, processes, as Linux's /proc says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (?P<inode>\d+)\s*(?P<name>.*)$")
_MEMFD = "/memfd:"
_BLOCK_BYTES = 512
"""Unit of `st_blocks`, whatever the file system."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process and all its descendants take together."""

    memory_bytes: int
    """Proportional set size (what they share is counted once), and files in memory (memfd) that nobody has mapped."""
    processes: int
    threads: int
    descriptors: int


def usage(pid: int) -> Usage:
    """Of a process and its descendants at this moment.

    Raises:
        ProcessLookupError: there is no such process.
    """
    pids = family(pid)
    if not pids:
        raise ProcessLookupError(f"process {pid} is gone")
    return Usage(
        memory_bytes=_memory_bytes(pids),
        processes=len(pids),
        threads=sum(len(_entries(one, "task")) for one in pids),
        descriptors=sum(len(_entries(one, "fd")) for one in pids),
    )


def family(pid: int) -> list[int]:
    """A process and all its descendants; none where it has ended."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (parent := _parent(int(entry.name))) is not None:
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid] if _parent(pid) is not None else []
    for one in found:
        found += parents.get(one, [])
    return found


def children(pid: int) -> list[int]:
    """Descendants only."""
    return family(pid)[1:]


def group(leader: int) -> list[int]:
    """Processes of a process group, those that have ended and wait for their parent apart."""
    numbers = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [pid for pid in numbers if (place := _place(pid)) is not None and place[1] == leader]


def command_of(pid: int) -> str:
    """Command line; empty where the process has ended."""
    return _text(pid, "cmdline").replace("\0", " ")


def _parent(pid: int) -> int | None:
    place = _place(pid)
    return None if place is None else place[0]


def _place(pid: int) -> tuple[int, int] | None:
    """Parent and process group; None for a process that has ended, a zombie included."""
    # the name, in parentheses, may hold anything
    state, _, rest = _text(pid, "stat").rpartition(")")[2].strip().partition(" ")
    if not rest or state == "Z":
        return None
    parent, leader = rest.split()[:2]
    return int(parent), int(leader)


def _memory_bytes(pids: Sequence[int]) -> int:
    files: dict[int, int] = {}
    for pid in pids:
        for descriptor in _entries(pid, "fd"):
            path = _PROC / str(pid) / "fd" / descriptor
            try:
                if str(path.readlink()).startswith(_MEMFD):
                    status = path.stat()
                    files[status.st_ino] = status.st_blocks * _BLOCK_BYTES
            except OSError:
                continue  # closed meanwhile
    mapped = sum(size for pid in pids for inode, size in _mappings(pid) if inode not in files)
    return mapped + sum(files.values())


def _mappings(pid: int) -> list[tuple[int | None, int]]:
    """(inode of a memfd or None, proportional bytes) of every mapping."""
    found: list[tuple[int | None, int]] = []
    inode = None
    for line in _text(pid, "smaps").splitlines():
        if line.startswith("Pss:"):
            found.append((inode, int(line.split()[1]) * 1024))
        elif match := _MAPPING.match(line):
            inode = int(match["inode"]) if match["name"].startswith(_MEMFD) else None
    return found


def _entries(pid: int, folder: str) -> list[str]:
    try:
        return [entry.name for entry in (_PROC / str(pid) / folder).iterdir()]
    except OSError:
        return []


def _text(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""
