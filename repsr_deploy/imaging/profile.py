"""ICC profiles: which of them fit an image, and files with them. Source: ICC.1:2022, section 7.2 (profile header)."""

from __future__ import annotations

import logging

from repsr_deploy.imaging.formats.base import MAX_PROFILE_BYTES, Format
from repsr_deploy.imaging.formats.jpeg import jpeg_with_profile
from repsr_deploy.imaging.formats.png import png_with_profile
from repsr_deploy.imaging.formats.webp import webp_with_profile

log = logging.getLogger(__name__)

_HEADER_BYTES = 128
_WITH_PROFILE = {"png": png_with_profile, "jpeg": jpeg_with_profile, "webp": webp_with_profile}


def fitting_profile(profile: bytes | None, channels: int, name: str) -> bytes | None:
    """A profile when it is one of gray samples (1 channel) or of RGB (3 and 4); else None, and a line in the log."""
    if profile is None:
        return None
    if not _HEADER_BYTES <= len(profile) <= MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        log.warning("%s: its ICC profile of %d bytes is none that is known and is left out", name, len(profile))
        return None
    space, expected = profile[16:20], b"GRAY" if channels == 1 else b"RGB "
    if space != expected:
        log.warning("%s: its ICC profile is for %r, not %r, and is left out", name, space, expected)
        return None
    return profile


def with_profile(encoded: memoryview, form: Format, profile: bytes) -> memoryview:
    """A file without a profile as one with it."""
    return memoryview(_WITH_PROFILE[form](encoded, profile))
