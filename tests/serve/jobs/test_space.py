from __future__ import annotations

import errno
import itertools
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_bytes import encode_image
from repsr_serve.codec import Header
from repsr_serve.jobs.space import most_bytes, no_space
from repsr_serve.plan import Plan
from repsr_serve.problems import Problem

FORMS: tuple[WebFormat, ...] = ("png", "jpeg", "webp")
SIZES = [(1, 1), (640, 1), (1, 999), (333, 217)]


@pytest.mark.parametrize(("channels", "sample_bytes", "form"), list(itertools.product((1, 3, 4), (1, 2), FORMS)))
def test_noise_takes_less(channels: int, sample_bytes: int, form: WebFormat) -> None:
    random = np.random.default_rng(channels)
    for width, height in SIZES:
        header = Header(format=form, width=width, height=height, channels=channels, sample_bytes=sample_bytes)
        plan = Plan(source=header, factor=1.0, passes=(1,), network_pixels=1, size=(width, height), format=form)
        top = 256**sample_bytes
        shape = (height, width, channels) if channels > 1 else (height, width)
        for noise in (random.integers(0, top, shape), random.integers(0, 2, shape) * (top - 1)):
            file = encode_image(noise.astype(f"uint{8 * sample_bytes}"), form, quality=100)
            assert len(file) < most_bytes(0, plan)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, ""), OSError(errno.EFBIG, "")])
def test_full_disks(error: OSError) -> None:
    with pytest.raises(Problem) as full, no_space():
        raise error
    assert (full.value.cause, full.value.status, full.value.headers["Retry-After"]) == ("no-space", 503, "60")


def test_other_errors_are_not_hidden() -> None:
    for error in (OSError(errno.EIO, "broken"), ValueError("a defect")):
        with pytest.raises(type(error)), no_space():
            raise error
    error = pytest.raises(sqlite3.OperationalError, match="no such table")
    with closing(sqlite3.connect(":memory:")) as database, error, no_space():
        database.execute("SELECT 1 FROM absent")
