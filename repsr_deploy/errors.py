"""Errors that a user can act on: command lines print them as one line. Anything else is a defect."""

from __future__ import annotations


class RepsrError(Exception):
    """Work failed: says what happened, the offending value, what was expected and what to do. Exit code 1."""

    exit_code = 1


class UsageError(RepsrError):
    """The request itself is wrong (an impossible scale, an unknown name). Exit code 2."""

    exit_code = 2


class ImageFileError(RepsrError):
    """A file cannot be read as an image, or an image cannot be written."""


class ModelFileError(RepsrError):
    """A file is no model, or a model of another kind than the one asked for."""


class FoldError(RepsrError):
    """A site cannot be folded exactly."""


class ProofError(RepsrError):
    """Two networks that must agree do not."""


class RuntimeUnavailableError(RepsrError):
    """A runtime cannot be used here: says why, and what to install."""
