"""EXIF blocks and XMP packets that describe another picture: what must change does, and nothing else moves."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import pytest
from PIL import Image as Pillow

from repsr_deploy.imaging.formats import exif, xmp
from tests.imaging.metadata_kinds import MAKER_NOTE, THUMBNAIL, exif_block, packet


def read(block: bytes) -> Pillow.Exif:
    result = Pillow.Exif()
    result.load(block)
    return result


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("size", [(2000, 1500), (70_000, 3), (65535, 65536)])
def test_sizes_and_orientation_change_in_place(order: str, size: tuple[int, int]) -> None:
    block = exif_block(order)
    renewed = exif.renewed(block, *size)
    assert renewed is not None
    before, after = read(block), read(renewed)
    assert (before[exif.ORIENTATION], after[exif.ORIENTATION]) == (6, 1)
    assert (after[exif.WIDTH], after[exif.HEIGHT]) == size
    inner = after.get_ifd(exif.EXIF_IFD)
    assert (inner[exif.PIXEL_X], inner[exif.PIXEL_Y]) == size
    assert inner[0x927C] == MAKER_NOTE
    assert renewed.index(MAKER_NOTE) == block.index(MAKER_NOTE)
    assert after.get_ifd(exif.GPS_IFD) == before.get_ifd(exif.GPS_IFD) != {}
    assert {tag: after[tag] for tag in after if tag not in (exif.ORIENTATION, exif.WIDTH, exif.HEIGHT)} == {
        tag: before[tag] for tag in before if tag not in (exif.ORIENTATION, exif.WIDTH, exif.HEIGHT)
    }
    changed = sum(a != b for a, b in zip(block, renewed, strict=False))
    assert changed <= 5 * 10 + 4


@pytest.mark.parametrize("order", "<>")
def test_the_thumbnail_goes(order: str) -> None:
    block = exif_block(order)
    assert THUMBNAIL in block
    following_at = 8 + 2 + 12 * 10
    assert any(block[following_at : following_at + 4])
    renewed = exif.renewed(block, 10, 10)
    assert renewed is not None
    assert THUMBNAIL not in renewed
    assert not any(renewed[following_at : following_at + 4])
    assert exif.renewed(renewed, 10, 10) == renewed


def test_what_is_not_there_is_not_made_up() -> None:
    given = Pillow.Exif()
    given[0x010F] = "Maker"
    block = given.tobytes()[6:]
    assert exif.renewed(block, 5, 5) == block


@pytest.mark.parametrize(
    "block",
    [
        b"", b"II", b"no TIFF block", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff",
        b"II+\0\x08\0\0\0" + bytes(90), exif_block("<")[:40], exif_block("<")[:8] + b"\xff\xff" + exif_block("<")[10:],
    ],
)  # fmt: skip
def test_damaged_blocks(block: bytes) -> None:
    assert exif.renewed(block, 5, 5) is None
    assert exif.orientation_of(memoryview(block)) == 1


def test_any_damage_is_found_or_harmless() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        block = bytearray(exif_block(chance.choice("<>")))
        for _ in range(chance.randrange(1, 6)):
            block[chance.randrange(len(block))] = chance.choice([0, 1, 255, chance.randrange(256)])
        renewed = exif.renewed(bytes(block[: chance.randrange(len(block))] if chance.random() < 0.3 else block), 9, 9)
        assert renewed is None or exif.orientation_of(memoryview(renewed)) == 1


ATTRIBUTES = packet(
    'tiff:Orientation="6" tiff:ImageWidth=\'37\' tiff:ImageLength = "41" exif:PixelXDimension="37"\n'
    '   exif:PixelYDimension="41" tiff:Make="A &amp; B" xmpNote:HasExtendedXMP="0123"'
)
ELEMENTS = packet(
    "",
    "<tiff:Orientation>6</tiff:Orientation><tiff:ImageWidth>37</tiff:ImageWidth >"
    "<tiff:ImageLength>41</tiff:ImageLength><exif:PixelXDimension>37</exif:PixelXDimension><exif:PixelYDimension>41</exif:PixelYDimension>"
    "<tiff:Make>A &amp; B</tiff:Make><xmp:Thumbnails><rdf:Alt>\n<rdf:li>picture</rdf:li></rdf:Alt></xmp:Thumbnails>",
)


@pytest.mark.parametrize("given", [ATTRIBUTES, ELEMENTS], ids=["attributes", "elements"])
def test_both_forms_of_xmp(given: bytes) -> None:
    from xml.etree import ElementTree

    renewed = xmp.renewed(given, 74, 82)
    assert renewed is not None
    root = ElementTree.fromstring(renewed)
    found: dict[str, Any] = {}
    for element in root.iter():
        found |= {name.split("}")[-1]: value for name, value in element.attrib.items()}
        found[element.tag.split("}")[-1]] = element.text
    expected = {"Orientation": "1", "ImageWidth": "74", "ImageLength": "82", "PixelXDimension": "74"}
    assert {name: found[name] for name in expected} == expected
    assert found["PixelYDimension"] == "82"
    assert found["Make"] == "A & B"
    assert "HasExtendedXMP" not in found
    assert "Thumbnails" not in found
    assert xmp.renewed(renewed, 74, 82) == renewed


def test_xmp_by_other_names() -> None:
    given = ELEMENTS.replace(b"tiff:", b"t-1:").replace(b"xmlns:tiff", b"xmlns:t-1")
    renewed = xmp.renewed(given, 74, 82)
    assert renewed is not None
    assert b"<t-1:ImageWidth>74</t-1:ImageWidth >" in renewed


def test_nothing_else_of_xmp_changes() -> None:
    given = packet("dc:title=\"tiff:ImageWidth='5'\"", "<!-- kept -->  <dc:subject>é 写真 37</dc:subject>")
    assert xmp.renewed(given + b"\0\0", 74, 82) == given


@pytest.mark.parametrize(
    "given", [b"", b"no XML", ATTRIBUTES[:-9], b"\xff" + ATTRIBUTES, b"<!DOCTYPE a>" + ATTRIBUTES, b"<a>&b;</a>"]
)
def test_damaged_xmp(given: bytes) -> None:
    assert xmp.renewed(given, 74, 82) is None


def test_a_packet_does_not_take_long() -> None:
    spaces = b" ".join(b'xmlns:p%d="http://ns.adobe.com/tiff/1.0/"' % number for number in range(20_000))
    assert xmp.renewed(b"<a " + spaces + b"/>", 5, 5) is not None


def test_the_block_is_one_that_others_write() -> None:
    """The blocks above have what a camera's file has: Pillow reads the same out of them inside a JPEG."""
    file = io.BytesIO()
    Pillow.new("RGB", (8, 8)).save(file, "JPEG", exif=b"Exif\0\0" + exif_block("<"))
    with Pillow.open(file) as picture:
        assert picture.getexif()[0x0110] == "Model"
    assert struct.unpack("<I", exif_block("<")[4:8]) == (8,)
