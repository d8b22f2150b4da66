"""What is wrong with a video but does not keep it from being upscaled: said in the log, never a thousand times."""

from __future__ import annotations

import logging

from repsr_deploy.video.opening import Opened

log = logging.getLogger(__name__)

MOST = 5
"""Damaged places that are said one by one."""
EARLY_S = 1.0
"""A video that ends this much before it should has been cut off."""


class Problems:
    """Those of one file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._damaged = 0
        self._said: set[str] = set()
        self.heeded = True
        """Whether damage counts: not while the decoder finds its way after a leap."""
        self.last = ""
        """Why data could not be decoded, at last."""

    def damaged(self, at_s: float | None, reason: str) -> None:
        """A place that cannot be decoded, or in part only."""
        self.last = reason
        if not self.heeded:
            return
        self._damaged += 1
        if self._damaged <= MOST:
            log.warning("%s is damaged%s: %s", self._name, "" if at_s is None else f" at {clock(at_s)}", reason)

    def ended(self, end_s: float | None, expected_s: float | None) -> None:
        """The last frame has been decoded."""
        if self._damaged > MOST:
            log.warning("%s is damaged at %d places", self._name, self._damaged)
        self._damaged = 0
        if end_s is not None and expected_s is not None and end_s + EARLY_S < expected_s:
            log.warning("%s ends at %s, and should end at %s", self._name, clock(end_s), clock(expected_s))

    def untimed(self, rate: float) -> None:
        """A frame without a time stamp."""
        self._once("%s has frames without time stamps; they are set %g a second", rate)

    def out_of_order(self, at_s: float) -> None:
        """A frame with a time stamp that is not after that of the one before."""
        self._once("%s has time stamps that do not increase, first at %s; they are corrected", clock(at_s))

    def _once(self, message: str, *values: object) -> None:
        if message not in self._said:
            self._said.add(message)
            log.warning(message, self._name, *values)


def expected_end_s(opened: Opened) -> float | None:
    """When the video should end, where the file says so itself and it is no estimate; in seconds."""
    container, stream = opened
    if container.format.name.startswith("matroska"):
        hours, minutes, seconds = (stream.metadata.get("DURATION") or "::").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) if seconds else None
    if not container.format.name.startswith(("mov", "avi")) or stream.duration is None:
        return None
    return float((stream.duration + (stream.start_time or 0)) * (stream.time_base or 0))


def clock(seconds: float) -> str:
    """A time as people read it: 1:02:03.450."""
    milliseconds = round(seconds * 1000)
    sign, milliseconds = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    return f"{sign}{milliseconds // 3_600_000}:{milliseconds // 60_000 % 60:02}:{milliseconds % 60_000 / 1000:06.3f}"
