"""Pictures that are too large for memory, upscaled strip by strip into a tiled TIFF."""

from __future__ import annotations

from repsr_deploy.imaging.strips.check import check_strips
from repsr_deploy.imaging.strips.header import LARGE_PIXELS, is_large
from repsr_deploy.imaging.strips.run import StripsOutcome, upscale_strips

__all__ = ["LARGE_PIXELS", "StripsOutcome", "check_strips", "is_large", "upscale_strips"]
