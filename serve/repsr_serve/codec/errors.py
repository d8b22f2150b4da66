"""What a picture's way through the codec can end in."""

from __future__ import annotations

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.container import UnknownFormatError


class WorkerDied(RepsrError):  # noqa: N818 - what happened, in the words of the metrics
    """A worker process ended, or was ended because it took too long, and the picture is not done."""


REPORTED: dict[str, type[RepsrError]] = {
    error.__name__: error for error in (RepsrError, ImageFileError, UnknownFormatError, UsageError)
}
"""Errors of a request by the word in a worker's answer; anything else is a defect."""
