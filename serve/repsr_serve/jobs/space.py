"""Space on the disk: how much a job may need, and what is said when there is none."""

from __future__ import annotations

import errno
import logging
import math
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from repsr_deploy.imaging.container import WebFormat
from repsr_serve.plan import Plan
from repsr_serve.problems import Problem

log = logging.getLogger(__name__)

_BLOCK = 8
"""Encoders work on blocks of that side."""
_RATIOS: dict[WebFormat, float] = {"png": 1.05, "jpeg": 2.0, "webp": 1.2}
"""Bytes of the largest file by its bytes of samples: noise of full contrast at quality 100, and some room."""
_HEAD_BYTES = 2**16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STORE_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def most_bytes(upload_bytes: int, plan: Plan) -> int:
    """What a job may need until it is finished: its upload, and the largest result that can come of it.

    A colour profile is taken to be as long as the upload at most; a PNG may hold more, compressed.
    """
    width, height = (math.ceil(side / _BLOCK) * _BLOCK for side in plan.size)
    sample_bytes = plan.source.sample_bytes if plan.format == "png" else 1
    samples_bytes = width * height * plan.source.channels * sample_bytes
    return 2 * upload_bytes + _HEAD_BYTES + math.ceil(samples_bytes * _RATIOS[plan.format])


@contextmanager
def no_space() -> Generator[None]:
    """Raise a `Problem` where the disk takes no more."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        full = error.errno in _FULL if isinstance(error, OSError) else error.sqlite_errorcode in _STORE_FULL
        if not full:
            raise
        log.error("the disk of the jobs is full: %s", error)
        raise Problem("no-space", "The disk of the jobs is full; ask again later.", 60) from error
