"""Image file directories: what TIFF files and EXIF blocks are made of.

Sources: TIFF 6.0, section 2; BigTIFF (Aware Systems); Exif 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from repsr_deploy.imaging.formats.base import damaged

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, IFD, LONG8, IFD8 = 1, 2, 3, 4, 5, 7, 13, 16, 18
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", IFD: "I", LONG8: "Q", IFD8: "Q"}  # whole numbers from 0
_SIGNATURES = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}


@dataclass(frozen=True)
class Value:
    """What a tag holds: `count` numbers of a kind, as bytes in the order of the file."""

    kind: int
    count: int
    data: bytes


@dataclass(frozen=True)
class Entry:
    """Where a tag stands: its entry, and its value there or elsewhere."""

    kind: int
    count: int
    entry_at: int
    value_at: int


@dataclass(frozen=True)
class Directory:
    """One image file directory."""

    entries: dict[int, Entry]
    """By tag; of two with one tag, the first."""
    following: int
    """Where the next directory stands; 0 for none."""
    following_at: int
    """Where the file says so."""


@dataclass(frozen=True)
class Block:
    """A TIFF file, or a block of that form."""

    data: memoryview
    order: str
    """`<` or `>`, as `struct` writes them."""
    big: bool
    first: int
    """Where the first directory stands."""

    @classmethod
    def of(cls, data: memoryview) -> Block:
        """Raises: ImageFileError: it starts otherwise. struct.error: cut off."""
        order = _SIGNATURES.get(bytes(data[:4]))
        if order is None:
            raise damaged(f"a TIFF block starts with {bytes(data[:4])!r}")
        if data[2] == ord("+") or data[3] == ord("+"):
            offset_bytes, zero, first = struct.unpack_from(f"{order}HHQ", data, 4)
            if (offset_bytes, zero) != (8, 0):
                raise damaged(f"BigTIFF has offsets of {offset_bytes} bytes")
            return cls(data, order, True, first)
        return cls(data, order, False, *struct.unpack_from(f"{order}I", data, 4))

    def directory(self, at: int) -> Directory:
        """The directory at a place. Raises: struct.error: it does not lie in the data."""
        count_code, entry_code, word = ("Q", "HHQ", 8) if self.big else ("H", "HHI", 4)
        if at > len(self.data):
            raise struct.error(f"a directory at {at}, behind the end")
        (count,) = struct.unpack_from(self.order + count_code, self.data, at)
        start = at + struct.calcsize(count_code)
        entry_bytes = struct.calcsize("<" + entry_code) + word
        following_at = start + count * entry_bytes
        if following_at > len(self.data):
            raise struct.error(f"{count} tags at {at}")
        entries: dict[int, Entry] = {}
        for entry_at in range(start, following_at, entry_bytes):
            tag, kind, numbers = struct.unpack_from(self.order + entry_code, self.data, entry_at)
            value_at = entry_at + entry_bytes - word
            if numbers * _BYTES.get(kind, 1) > word:
                (value_at,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, value_at)
            entries.setdefault(tag, Entry(kind, numbers, entry_at, value_at))
        following = 0
        if following_at + word <= len(self.data):  # some writers leave the last one out
            (following,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, following_at)
        return Directory(entries, following, following_at)

    def value(self, entry: Entry) -> Value:
        """What an entry holds. Raises: struct.error: it does not lie in the data. ImageFileError: an unknown kind."""
        if entry.kind not in _BYTES:
            raise damaged(f"a tag is of kind {entry.kind}")
        end = entry.value_at + entry.count * _BYTES[entry.kind]
        if end > len(self.data):
            raise struct.error(f"a value at {entry.value_at}, behind the end")
        return Value(entry.kind, entry.count, bytes(self.data[entry.value_at : end]))

    def numbers(self, directory: Directory, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The whole numbers of a tag. Raises: as `value`; ImageFileError: it holds none."""
        if tag not in directory.entries:
            return default
        value = self.value(directory.entries[tag])
        if value.kind not in _CODES or not value.count:
            raise damaged(f"TIFF tag {tag} holds {value.count} numbers of kind {value.kind}")
        return struct.unpack(f"{self.order}{value.count}{_CODES[value.kind]}", value.data)

    def number(self, directory: Directory, tag: int, default: int = 0) -> int:
        """The first number of a tag. Raises: as `numbers`."""
        return self.numbers(directory, tag, (default,))[0]


def shorts(order: str, *numbers: int) -> Value:
    """Numbers as a value."""
    return Value(SHORT, len(numbers), struct.pack(f"{order}{len(numbers)}H", *numbers))


def longs(order: str, *numbers: int) -> Value:
    """Numbers as a value."""
    return Value(LONG, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers))


def directory_bytes(values: Mapping[int, Value], at: int, order: str) -> bytes:
    """A directory for a place in a (classic) TIFF block, with its values behind it; no other follows it."""
    entries, data = b"", b""
    data_at = at + 2 + 12 * len(values) + 4
    for tag, value in sorted(values.items()):
        entries += struct.pack(f"{order}HHI", tag, value.kind, value.count)
        if len(value.data) <= 4:
            entries += value.data.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", data_at + len(data))
            data += value.data + bytes(len(value.data) % 2)
    return struct.pack(f"{order}H", len(values)) + entries + bytes(4) + data
