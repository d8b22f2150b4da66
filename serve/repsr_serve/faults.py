"""Errors of the core as what a client is told."""

from __future__ import annotations

import errno
import math
from collections.abc import Generator
from contextlib import contextmanager

from repsr_deploy.errors import ImageFileError, ModelFileError, RepsrError, UsageError
from repsr_deploy.imaging.container import UnknownFormatError
from repsr_serve.admission import Admission
from repsr_serve.codec import WorkerDied
from repsr_serve.errands import StoppedError, TooLateError
from repsr_serve.problems import Problem
from repsr_serve.throughput import TooMuchAheadError

_NO_MORE = (errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE)


@contextmanager
def as_problems(admission: Admission) -> Generator[None]:
    """Raise a `Problem` for every error that has one; others pass, for they are defects."""
    try:
        yield
    except WorkerDied as error:
        raise Problem("worker-died", _sentence(error), retry_after_s=1) from error
    except RepsrError as error:
        if isinstance(error.__cause__, MemoryError):
            raise admission.overloaded("memory ran out") from error
        cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), None)
        if cause is None:
            raise
        raise Problem(cause, _sentence(error)) from error
    except MemoryError as error:
        raise admission.overloaded("memory ran out") from error
    except OSError as error:
        if error.errno not in _NO_MORE:
            raise
        raise admission.overloaded("memory or descriptors ran out") from error
    except TooMuchAheadError as error:
        raise admission.overloaded(f"what is under way takes about {math.ceil(error.ahead_s)} s") from error
    except TooLateError as error:
        raise admission.too_late(error.timeout_s) from error
    except StoppedError as error:
        raise admission.stopping() from error


_CAUSES: tuple[tuple[type[RepsrError], str], ...] = (
    (UnknownFormatError, "unknown-format"),
    (ImageFileError, "damaged"),
    (UsageError, "parameters"),
    (ModelFileError, "broken-model"),
)


def _sentence(error: RepsrError) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
