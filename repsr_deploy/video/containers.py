"""Containers that keep the time stamp of every frame, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import av

from repsr_deploy.errors import UsageError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix of a file -> FFmpeg's name of its format."""
USUAL = {
    "mp4": ("h264", "hevc", "av1", "vp9"),
    "mov": ("h264", "hevc", "prores"),
    "matroska": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
    "webm": ("vp9", "av1"),
}
"""Codecs that players expect in a format; others that it can hold are written when they are asked for."""


def format_of(target: Path) -> str:
    """FFmpeg's name of the format of a file that is to be written.

    Raises:
        UsageError: a suffix that is none of `CONTAINERS`.
    """
    form = CONTAINERS.get(target.suffix.lower())
    if form is None:
        raise UsageError(f"cannot write a video as {target.name!r}; expected a name ending in {', '.join(CONTAINERS)}")
    return form


def held_codecs(form: str, codecs: Sequence[str]) -> list[str]:
    """Those of `codecs` (FFmpeg's names) that a format holds."""
    held: list[str] = []
    with av.open(BytesIO(), "w", format=form) as container:
        for codec in codecs:
            try:
                container.add_mux_stream(codec)
            except ValueError:
                continue
            held.append(codec)
    return held
