"""Errors that a user can act on: command lines print them as one line. Anything else is a defect."""

from __future__ import annotations

from repsr_kernels.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError

__all__ = [
    "FoldError", "ImageFileError", "ModelFileError", "ProofError", "RepsrError", "RuntimeUnavailableError",
    "UsageError", "VideoFileError",
]  # fmt: skip


class ImageFileError(RepsrError):
    """A file cannot be read as an image, or an image cannot be written."""


class VideoFileError(RepsrError):
    """A file cannot be read as a video, or a video cannot be written."""


class FoldError(RepsrError):
    """A site cannot be folded exactly."""


class ProofError(RepsrError):
    """Two networks that must agree do not."""
