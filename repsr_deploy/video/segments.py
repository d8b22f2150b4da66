"""Finished pieces of a video beside its target: what a killed run leaves, and the next one goes on from.

Beside `film.mkv` stands, while it is made, the folder `.film.mkv.parts`, with a lock and a folder for every identity
(input, model, options), named by its hash: a run with other options does not destroy what is finished. Each holds a
state file and the segments. A segment has the packets of an encoder of its own, in decoding order, with the input's
time stamps; it appears whole, and is on the disk, before the state names it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import struct
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import EISDIR
from pathlib import Path
from stat import S_ISDIR
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from repsr_deploy.errors import RepsrError, VideoFileError
from repsr_deploy.files import atomic_path, file_sha256, sha256
from repsr_deploy.video.state import STATE, SegmentRecord, State, differences, key_of, read_state, write_state

if TYPE_CHECKING:
    from av import Packet

log = logging.getLogger(__name__)

_HEADER = struct.Struct("<8sI")  # magic, bytes of extradata
_MAGIC = b"repsrseg"
_PACKET = struct.Struct("<qqII")  # pts, duration, 1 for a key frame, bytes
LOCK = "lock"
_LONGEST_NAME = 80


@dataclass(frozen=True)
class StoredPacket:
    """A packet of the video, with time stamps in the input's time base."""

    pts: int
    duration: int
    is_key: bool
    data: bytes


@dataclass(frozen=True)
class Segment:
    """A finished segment on the disk."""

    path: Path
    record: SegmentRecord

    def is_whole(self) -> bool:
        """Whether the file is what was written."""
        try:
            return self.path.stat().st_size == self.record.size and file_sha256(self.path) == self.record.sha256
        except OSError:
            return False

    def extradata(self) -> bytes:
        """What decoders need before the first packet."""
        with self.path.open("rb") as file:
            return _read_extradata(file)

    def times(self) -> list[int]:
        """The pts of its packets, in decoding order."""
        return [packet[0] for packet in self._walk(data=False)]

    def packets(self) -> Iterator[StoredPacket]:
        """Its packets, in decoding order, read one by one."""
        for pts, duration, is_key, data in self._walk(data=True):
            yield StoredPacket(pts, duration, is_key, data)

    def _walk(self, *, data: bool) -> Iterator[tuple[int, int, bool, bytes]]:
        with self.path.open("rb") as file:
            _read_extradata(file)
            while head := file.read(_PACKET.size):
                if len(head) < _PACKET.size:
                    raise VideoFileError(f"{self.path} ends early; run again")
                pts, duration, is_key, size = _PACKET.unpack(head)
                content = file.read(size) if data else b""
                if not data:
                    file.seek(size, os.SEEK_CUR)
                elif len(content) < size:
                    raise VideoFileError(f"{self.path} ends early; run again")
                yield pts, duration, bool(is_key), content


class SegmentWriter:
    """Takes the packets of one encoder, in decoding order."""

    def __init__(self, file: IO[bytes], extradata: bytes) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0
        self._times: list[int] = []
        self._put(_HEADER.pack(_MAGIC, len(extradata)) + extradata)

    def write(self, packets: Iterable[Packet[Any]]) -> None:
        """Add packets, which have a pts and a duration."""
        for packet in packets:
            data = bytes(packet)
            if packet.pts is None:
                raise ValueError("a packet without a time stamp")
            self._times.append(packet.pts)
            self._put(_PACKET.pack(packet.pts, packet.duration or 0, packet.is_keyframe, len(data)))
            self._put(data)

    def record(self, name: str) -> SegmentRecord:
        """What was written, as a segment of that name."""
        if not self._times:
            raise ValueError("a segment with no packets")
        return SegmentRecord(
            name=name, frames=len(self._times), first_pts=min(self._times), last_pts=max(self._times),
            size=self._size, sha256=self._digest.hexdigest(),
        )  # fmt: skip

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)


class WorkFolder:
    """The finished segments of one target, for one identity. A context manager, which holds a lock.

    Args:
        target: the video that is to be.
        identity: everything that decides the result, as text by name; see `state.file_identity`.
        restart: throw away what is finished, of this identity and others.

    Raises:
        VideoFileError: another run writes the same target.
        RepsrError: the folder cannot be made, or no file can have the name of the target.
    """

    def __init__(self, target: Path, identity: Mapping[str, str], *, restart: bool = False) -> None:
        self._target = target
        self._root = parts_path(target)
        self._folder = self._root / key_of(identity)
        self._lock = _lock(self._root, target)
        try:
            self._state = self._open(identity, restart=restart)
        except OSError as error:
            os.close(self._lock)
            raise RepsrError(f"cannot write {self._root}: {error.strerror}; choose another output") from error
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is finished, in order."""
        return tuple(Segment(self._folder / record.name, record) for record in self._state.segments)

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return sum(record.frames for record in self._state.segments)

    @property
    def resume_pts(self) -> int | None:
        """The first pts that is not finished yet; None for all of them."""
        return self._state.segments[-1].last_pts + 1 if self._state.segments else None

    @contextmanager
    def segment(self, extradata: bytes) -> Generator[SegmentWriter]:
        """A writer of the next segment, which is finished when the block ends without an error, else gone.

        Args:
            extradata: that of its encoder.

        Raises:
            RepsrError: the disk is full.
        """
        name = f"{len(self._state.segments):06}.seg"
        with atomic_path(self._folder / name) as temporary, temporary.open("wb") as file:
            writer = SegmentWriter(file, extradata)
            yield writer
            record = writer.record(name)
            file.flush()
            os.fsync(file.fileno())
        _sync(self._folder)
        state = replace(self._state, segments=(*self._state.segments, record))
        write_state(self._folder, state)
        _sync(self._folder)
        self._state = state

    def remove(self) -> None:
        """Delete it all, when the target is finished."""
        shutil.rmtree(self._root)

    def close(self) -> None:
        """Let another run have it."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, identity: Mapping[str, str], *, restart: bool) -> State:
        for path in self._root.iterdir():
            if path.is_dir() and restart:
                shutil.rmtree(path)
        self._folder.mkdir(exist_ok=True)
        state = self._resume(identity)
        known = {LOCK, STATE, *(record.name for record in state.segments)}
        for path in (*self._root.iterdir(), *self._folder.iterdir()):
            if path.is_file() and path.name not in known:  # of a run that was killed
                path.unlink()
        return state

    def _resume(self, identity: Mapping[str, str]) -> State:
        found = read_state(self._folder)
        if found is None:
            self._tell_of_others(identity)
            state = State(identity=dict(identity))
            write_state(self._folder, state)
            return state
        whole: list[SegmentRecord] = []
        for record in found.segments:
            if not Segment(self._folder / record.name, record).is_whole():
                log.warning(
                    "%s: segment %s is damaged or missing; it and what follows is done again", self._target, record.name
                )
                break
            whole.append(record)
        return replace(found, segments=tuple(whole))

    def _tell_of_others(self, identity: Mapping[str, str]) -> None:
        for folder in sorted(self._root.iterdir()):
            other = read_state(folder) if folder.is_dir() and folder != self._folder else None
            if other is not None and other.segments:
                log.warning(
                    "%s: an interrupted run is not continued, because %s; its %d segments are kept in %s until the "
                    "target is finished", self._target, "; ".join(differences(other.identity, identity)),
                    len(other.segments), folder,
                )  # fmt: skip


def parts_path(target: Path) -> Path:
    """The folder for what is finished of `target`: hidden, beside it. Long names end in a hash."""
    name = target.name
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:16]}~{sha256(name.encode())[:16]}"
    return target.parent / f".{name}.parts"


def _read_extradata(file: IO[bytes]) -> bytes:
    magic, size = _HEADER.unpack(file.read(_HEADER.size))
    if magic != _MAGIC:
        raise VideoFileError(f"{file.name} is no segment of a video; delete its folder and start again")
    return file.read(size)


def _lock(root: Path, target: Path) -> int:
    """A descriptor that holds the lock of a folder, which is made."""
    _check_name(target)
    while True:
        try:
            root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(root / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        except OSError as error:
            raise RepsrError(f"cannot write {root}: {error.strerror}; choose a writable place for {target}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise VideoFileError(f"another run is writing {target}; wait for it, or choose another output") from error
        if _is_same(root / LOCK, descriptor):
            return descriptor
        os.close(descriptor)  # the other run finished and removed its folder meanwhile


def _check_name(target: Path) -> None:
    """Find out before the work, and not when all of it is done, that no file can have this name."""
    try:
        if S_ISDIR(target.lstat().st_mode):
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RepsrError(f"cannot write {target}: {error.strerror}; choose another output") from error


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    """Have names that were given to files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
