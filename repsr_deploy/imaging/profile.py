"""ICC profiles: which of them fit an image. Source: ICC.1:2022, section 7.2 (profile header)."""

from __future__ import annotations

import logging

from repsr_deploy.imaging.formats.base import MAX_PROFILE_BYTES

log = logging.getLogger(__name__)

_HEADER_BYTES = 128


def fitting_profile(profile: bytes | None, channels: int, name: str) -> bytes | None:
    """A profile when it is one of gray samples (1 or 2 channels) or of RGB; else None, and a line in the log."""
    if profile is None:
        return None
    if not _HEADER_BYTES <= len(profile) <= MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        log.warning("%s: its ICC profile of %d bytes is none that is known and is left out", name, len(profile))
        return None
    space, expected = profile[16:20], b"GRAY" if channels < 3 else b"RGB "
    if space != expected:
        log.warning("%s: its ICC profile is for %r, not %r, and is left out", name, space, expected)
        return None
    return profile
