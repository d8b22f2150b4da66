"""Files that lie: whole where they must be whole, wrong where they must be wrong."""

from __future__ import annotations

import struct
import zlib
from random import Random

import pytest

from checks.hostile import images
from checks.hostile.files import MAX_PIXELS, honest
from checks.photographs import decoded
from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import read_container


@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 6), (16, 6)])
def test_a_png_without_a_lie_decodes_to_black(depth: int, colour: int) -> None:
    image = decoded(images.png(37, 23, depth=depth, colour=colour))
    assert image.shape[:2] == (23, 37)
    assert not image.any()


def test_a_gigapixel_fits_into_a_kilobyte() -> None:
    small, whole = images.gigapixel(whole=False), images.gigapixel(whole=True)
    assert len(small) < 1024
    for data in (small, whole):
        container = read_container(data)  # all checksums are right
        assert container.width * container.height >= 10**9
    unpacker = zlib.decompressobj()
    pixels = whole[whole.index(b"IDAT") + 4 : -16]
    total = sum(len(unpacker.decompress(pixels[start : start + 1024])) for start in range(0, len(pixels), 1024))
    assert total == 31_623 * (1 + 3953)  # every row of it is there
    assert unpacker.eof


@pytest.mark.parametrize(("width", "height"), [(1, 1), (300, 200), (999, 1001), (4000, 3000)])
def test_a_flat_webp_decodes_whatever_its_size(width: int, height: int) -> None:
    data = images.webp_flat(width, height)
    image = decoded(data)
    assert len(data) == 32
    assert image.shape[:2] == (height, width)
    assert (image == image[0, 0]).all()


def test_a_jpeg_of_many_scans_is_a_right_picture() -> None:
    few, many = images.jpeg_of_scans(91, 2), images.jpeg_of_scans(91, 1000)
    assert decoded(few).shape == (728, 728)
    assert len(many) - len(few) == 12 * 998


def test_other_sizes_in_right_files() -> None:
    data = images.jpeg_resized(honest()[2], 65_500, 31_000)
    container = read_container(data)
    assert (container.width, container.height) == (65_500, 31_000)
    assert len(data) == len(honest()[2])
    canvas = read_container(images.webp_canvas(2**24, 2**23, honest()[4][12:]))
    assert (canvas.width, canvas.height) == (2**24, 2**23)


def test_text_bombs_unpack_to_what_they_say() -> None:
    bomb = images.text_bomb(b"zTXt", 3 * 10**6 + 1)
    assert len(bomb) < 4000
    assert len(zlib.decompress(bomb[4 + 4 + 6 : -4])) == 3 * 10**6 + 1
    assert struct.unpack(">I", bomb[:4])[0] == len(bomb) - 12


def test_lengths_lie() -> None:
    for data in (images.riff(b"", 2**32 - 1), images.riff(images.riff_chunk(b"VP8 ", b"", 2**32 - 1))):
        with pytest.raises(ImageFileError):
            read_container(data)


def test_honest_files_are_whole_and_small_enough() -> None:
    sizes = {decoded(data).shape for data in honest()}
    assert len(honest()) == 9
    assert all(height * width <= MAX_PIXELS for height, width, *_ in sizes)
    assert {len(shape) for shape in sizes} == {2, 3}
    assert Random(1).random() != Random(2).random()
