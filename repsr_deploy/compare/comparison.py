"""What `--compare` writes beside a result."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from repsr_deploy.compare.crop import shown_part
from repsr_deploy.compare.page import Shown, page
from repsr_deploy.compare.pictures import bicubic, difference, side_by_side
from repsr_deploy.files import write_bytes, write_text
from repsr_deploy.imaging.image_bytes import encode_image
from repsr_deploy.imaging.samples import Image

ENDINGS = (".compare.html", ".compare.png", ".difference.png")
LONGEST_NAME = 255
"""Bytes of a file name, on the file systems of Linux and macOS."""


def comparison_files(target: Path) -> list[Path]:
    """Where the comparison of a result goes: the page, both side by side, the map of what differs."""
    return [target.with_name(_name(target.stem, ending)) for ending in ENDINGS]


def write_comparison(
    before_hwc: Image, after_hwc: Image, target: Path, *, title: str, model: str, icc_profile: bytes | None = None
) -> list[Path]:
    """Write a page and two pictures that show a picture before and after, each whole or not at all.

    Of a large result (`crop.SHOWN_PIXELS`) the middle is shown, and the page says so.

    Args:
        before_hwc, after_hwc: uint8 or uint16, H x W or H x W x C with 1 to 4 channels (transparency not
            premultiplied), of any two sizes.
        target: the result's file, which is not touched. For photo.png, what is written is called photo.compare.html,
            photo.compare.png and photo.difference.png.
        title: what the page is called, such as the original's name; any text.
        model: name of what enlarged it.
        icc_profile: of both pictures.

    Returns:
        The files (`comparison_files`).

    Raises:
        RepsrError: the place cannot be written to, or is full.
    """
    before, after = shown_part(before_hwc, after_hwc)
    enlarged = bicubic(before, *after.shape[:2])
    apart = difference(enlarged, after)
    page_file, both_file, map_file = files = comparison_files(target)
    shown = Shown(
        before_hwc=before, after_hwc=after, difference=apart, icc_profile=icc_profile,
        size=before_hwc.shape[1::-1], new_size=after_hwc.shape[1::-1], both=both_file.name, map=map_file.name,
    )  # fmt: skip
    write_bytes(both_file, bytes(encode_image(side_by_side(enlarged, after), "png", icc_profile=icc_profile)))
    write_bytes(map_file, bytes(encode_image(apart.map_hwc, "png")))
    write_text(page_file, page(shown, title=title, model=model))
    return files


def _name(stem: str, ending: str) -> str:
    """Their sum, cut to what file systems take; different stems give different names."""
    encoded, room = os.fsencode(stem), LONGEST_NAME - len(ending)
    if len(encoded) <= room:
        return stem + ending
    mark = f"-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return encoded[: room - len(mark)].decode(errors="ignore") + mark + ending
