"""What can be done in strips, known before anything is read."""

from __future__ import annotations

from pathlib import Path

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.upscaler import Upscaler

SUFFIXES = (".tif", ".tiff")
"""Of files that results of strips can be."""


def check_strips(target: Path, upscaler: Upscaler, enlargement: Enlargement) -> None:
    """Refuse what cannot be done in strips.

    Raises:
        UsageError: says what, and what is expected.
    """
    info = upscaler.info
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{target} is to be larger than memory allows at once; expected a TIFF file, whose name ends in "
            f"{' or '.join(SUFFIXES)}"
        )
    if info.halo is None:
        raise UsageError(
            f"{info.name} cannot upscale in strips, as every pixel depends on the whole image; expected a model "
            "exported with --calibrate"
        )
    if enlargement.width or enlargement.height or enlargement.factor not in (None, info.scale):
        raise UsageError(
            f"a picture this large is enlarged by its model alone, {info.scale} times with {info.name}; expected no "
            "other factor or size"
        )
    for name, asked, possible in (
        ("tta", enlargement.tta, False),
        ("seamless", enlargement.seamless, "no"),
        ("depth", enlargement.depth, "auto"),
    ):
        if asked != possible:
            raise UsageError(f"{name} is {asked}, which needs the whole picture at once; expected {possible}")
