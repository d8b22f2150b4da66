"""What a run makes, of what and by what: only the same is continued."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

from repsr_deploy._version import __version__
from repsr_deploy.errors import ImageFileError
from repsr_deploy.files import file_sha256
from repsr_deploy.imaging.strips.plan import Plan
from repsr_deploy.imaging.strips.source import LargePicture
from repsr_deploy.imaging.upscaler import Upscaler

Identity = dict[str, Any]
"""By names for people; JSON."""

_PROBE_SIDE = 64


def identity_of(picture: LargePicture, upscaler: Upscaler, plan: Plan) -> Identity:
    """What must be the same for a run to be continued.

    The model is known by what it makes, here, of an image of noise, to the bit: whatever would change the picture,
    weights, backend or precision, changes this too.

    Raises:
        ImageFileError: the picture cannot be read.
    """
    info = upscaler.info
    limits = upscaler.runtime.limits
    height, width = (_PROBE_SIDE, _PROBE_SIDE) if limits is None else limits.nearest(1, _PROBE_SIDE, _PROBE_SIDE)[1:]
    noise = np.random.default_rng(0).random((height, width, picture.channels), np.float32)
    probe = np.rint(noise * 255).astype(np.uint8) if info.io == "image" else noise
    try:
        digest = file_sha256(picture.path)
    except OSError as error:
        raise ImageFileError(f"cannot read {picture.path}: {error.strerror}; expected a readable image file") from error
    return {
        "version": __version__,
        "picture": digest,
        "model": [info.name, info.scale, sha256(upscaler.upscale(probe).tobytes()).hexdigest()],
        "runtime": [upscaler.runtime.name, upscaler.runtime.precision],
        "blocks": [plan.tile_width, plan.tile_length, sha256(repr(plan.strips).encode()).hexdigest()],
    }
