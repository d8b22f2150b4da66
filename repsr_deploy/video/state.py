"""What an interrupted run has finished, and whether another run is the same job: a JSON file beside the segments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from repsr_deploy.files import sha256, write_text

STATE = "state.json"
VERSION = 1
"""Of the state file and the segments; others are not continued."""
_SAMPLES, _SAMPLE_BYTES = 32, 1 << 18


@dataclass(frozen=True, kw_only=True)
class SegmentRecord:
    """A finished segment, and how to know that it is whole."""

    name: str
    frames: int
    first_pts: int
    last_pts: int
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class State:
    """A run, by what decides its result, and how far it came."""

    identity: Mapping[str, str]
    """Name of a part (input, model, an option) -> its value."""
    segments: tuple[SegmentRecord, ...] = ()


def write_state(folder: Path, state: State) -> None:
    """Write the state file, atomically.

    Raises:
        RepsrError: the folder cannot be written to, or the disk is full.
    """
    segments = [asdict(record) for record in state.segments]
    content = {"version": VERSION, "identity": dict(state.identity), "segments": segments}
    write_text(folder / STATE, json.dumps(content, indent=1, ensure_ascii=False))


def read_state(folder: Path) -> State | None:
    """The state in a folder; None where there is none, or one that cannot be understood."""
    try:
        content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return None
        segments = tuple(SegmentRecord(**one) for one in content["segments"])
        return State(identity={str(name): str(value) for name, value in content["identity"].items()}, segments=segments)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two identities, in words: `crf is 18, was 16`."""
    names = dict.fromkeys((*before, *now))
    return [
        f"{name} is {now.get(name, 'not given')}, was {before.get(name, 'not given')}"
        for name in names
        if now.get(name) != before.get(name)
    ]


def key_of(identity: Mapping[str, str]) -> str:
    """A short name that is the same for equal identities only."""
    return sha256(json.dumps(sorted(identity.items())).encode())[:16]


def file_identity(path: Path, name: str = "input") -> dict[str, str]:
    """The parts of an identity that stand for a file: its size, its time, and what is in it.

    The content is that of 32 places spread over the file, ends included: a film is recognised in a blink.
    """
    stat = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for place in sample_places(stat.st_size):
            file.seek(place)
            digest.update(file.read(_SAMPLE_BYTES))
    return {
        f"{name} size": f"{stat.st_size} bytes",
        f"{name} time": f"{stat.st_mtime_ns} ns",
        f"{name} content": digest.hexdigest()[:16],
    }


def sample_places(size: int) -> Sequence[int]:
    """Offsets that are read of a file of `size` bytes: all of it where it is small."""
    if size <= _SAMPLES * _SAMPLE_BYTES:
        return range(0, size, _SAMPLE_BYTES)
    return [(size - _SAMPLE_BYTES) * index // (_SAMPLES - 1) for index in range(_SAMPLES)]
