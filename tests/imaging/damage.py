"""Damaged pictures, decoded: what must hold whatever their format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import read_container
from repsr_deploy.imaging.image_bytes import decode_image

MOST_PIXELS = 2**22
"""Of what is decoded: a header that lies may claim far more."""


def said(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, channels and bytes of a sample, as the header has them."""
    container = read_container(data)
    return *container.seen_size, container.channels, container.sample_bytes


def given_by_decoder(image: Any) -> tuple[int, int, int, int]:
    """The same of an image."""
    return image.shape[1], image.shape[0], 1 if image.ndim == 2 else image.shape[2], image.itemsize


def decode_all(files: Iterable[bytes]) -> tuple[int, int]:
    """How many were decoded, and how many refused; what is decoded is as large as its header says."""
    decoded = refused = 0
    for data in files:
        try:
            expected = said(data)
            if expected[0] * expected[1] > MOST_PIXELS:
                continue
            actual = given_by_decoder(decode_image(data).image_hwc)
        except ImageFileError:
            refused += 1
            continue
        decoded += 1
        assert actual == expected
    return decoded, refused
