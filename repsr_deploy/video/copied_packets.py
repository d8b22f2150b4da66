"""The packets of the streams that are copied, with times that containers take."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.error import FFmpegError, InvalidDataError
from av.format import Flags

from repsr_deploy.errors import VideoFileError
from repsr_deploy.video.copies import Copy, as_subrip
from repsr_deploy.video.opening import URL

log = logging.getLogger(__name__)

_MOST_REORDERED = 16
"""Frames by which the order of decoding can differ from that of showing, in H.264 and HEVC."""


class CopiedPackets:
    """The packets of the copied streams, as the input has them, with a decoding time each that never goes back.

    Files that are damaged or cut lack times, or have some that go back, which no container takes: they follow on the
    packet before, and that is said.
    """

    def __init__(self, source: Any, copies: list[Copy]) -> None:
        self._source = source
        self._name = "" if source is None else source.name.removeprefix(URL)
        self._copies = {copy.source.index: copy for copy in copies if copy.target is not None}
        self._ends: dict[int, int] = {}
        self._earliest: dict[int, int] = {}
        """When the next packet of a stream may be decoded, in units of its target."""
        self._told: set[tuple[int, str]] = set()

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        """Decoding time in seconds, and a packet that is ready to be muxed."""
        if not self._copies:
            return
        streams = [self._source.streams[index] for index in sorted(self._copies)]
        try:
            for packet in _dated(self._source.demux(streams)):
                self._time(packet)
                copy = self._copies[packet.stream_index]
                if copy.is_text:
                    packet = as_subrip(packet)  # noqa: PLW2901
                    if not packet.size:  # MP4 has one for the time without a text
                        continue
                packet.stream = copy.target
                yield float(packet.dts * packet.time_base), packet
        except InvalidDataError as error:
            log.warning("%s is damaged (%s): what follows in its other streams is missing", self._name, error.strerror)
        except FFmpegError as error:
            raise VideoFileError(f"cannot read {self._name}: {error.strerror}") from error

    def leave_out(self, packet: Any) -> bool:
        """Say that the container refuses a packet, as it does damaged ones; False for one that is none of these."""
        index = next((index for index, copy in self._copies.items() if copy.target is packet.stream), None)
        if index is not None:
            self._tell(index, "has damaged packets; they are left out")
        return index is not None

    def _time(self, packet: Any) -> None:
        """Put the times of a packet in order, as they are counted in the target."""
        index, target = packet.stream_index, self._copies[packet.stream_index].target
        unit = Fraction(packet.time_base / target.time_base)
        given = packet.dts if packet.dts is not None else packet.pts
        earliest = self._earliest.get(index)
        if given is not None and (earliest is None or round(given * unit) >= earliest):
            dts = given
        else:
            if earliest is not None:  # pictures on covers have no time
                self._tell(index, "has time stamps that lack or go back; they are put in order")
            dts = self._ends.get(index, 0) if given is None or earliest is None else earliest
            packet.pts = None if packet.pts is None else round(packet.pts * unit)
            packet.duration = round((packet.duration or 0) * unit)
            packet.time_base, unit = target.time_base, Fraction(1)
        packet.dts = dts
        packet.pts = dts if packet.pts is None else max(packet.pts, dts)
        self._earliest[index] = round(dts * unit) + _least_step(target)
        self._ends[index] = round((dts + (packet.duration or 1)) * unit)

    def _tell(self, index: int, what: str) -> None:
        if (index, what) not in self._told:
            self._told.add((index, what))
            log.warning("%s: stream %d %s", self._name, index, what)


def _dated(packets: Iterator[Any]) -> Iterator[Any]:
    """Packets, those of videos with a decoding time: Matroska has none of the first few, as frames are reordered."""
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        if packet.size == 0 and packet.pts is None:  # PyAV's sign that a stream has ended
            continue
        early = waiting.setdefault(packet.stream_index, [])
        if packet.dts is None and packet.pts is not None and packet.stream.type == "video":
            early.append(packet)
            if len(early) <= _MOST_REORDERED:
                continue
            _date(early, min(one.pts for one in early) + (packet.duration or 1))
        else:
            if early and packet.dts is not None:
                _date(early, packet.dts)
            early.append(packet)
        yield from waiting.pop(packet.stream_index)
    for early in waiting.values():
        _date(early, min(one.pts for one in early) + (early[0].duration or 1))
        yield from early


def _date(packets: list[Any], end: int) -> None:
    """Have packets decoded one after the other until `end`."""
    for number, packet in enumerate(reversed(packets), 1):
        packet.dts = end - number * (packet.duration or 1)


def _least_step(target: Any) -> int:
    """By how much the decoding time of each packet of an open stream must be later than that of the one before."""
    loose = target.type in ("subtitle", "data") or target.container.format.flags & Flags.ts_nonstrict.value
    return 0 if loose else 1
