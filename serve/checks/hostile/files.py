"""Families of hostile files, sent as the body of an upscale request."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from random import Random

import cv2
import numpy as np

from checks.hostile import images
from checks.hostile.case import Case, picture_case
from checks.photographs import mosaic

MAX_PIXELS = 1_000_000
"""What the service under attack is told to take (`--max-pixels`): a picture at the limit is then soon done."""
MAX_BYTES = 4 * 2**20
"""As `--max-bytes`."""
TOO_LARGE = frozenset({413})
UNKNOWN = frozenset({415})
SIDE = 48
"""Of the honest pictures that are damaged, pixels: most of a file's bytes then matter."""


@cache
def honest() -> Sequence[bytes]:
    """Whole files of each format, of a photograph: colour, gray, 16 bits, transparent."""
    random = Random(1)
    colour = mosaic(SIDE, SIDE, random)
    gray = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    transparent = cv2.merge([*cv2.split(colour), gray])
    pairs = [(image, suffix) for suffix in (".png", ".jpg", ".webp") for image in (colour, gray)]
    deep = colour.astype(np.uint16) * 257
    pairs += [(transparent, ".png"), (transparent, ".webp"), (deep, ".png")]
    return [cv2.imencode(suffix, image)[1].tobytes() for image, suffix in pairs]


@cache
def foreign() -> Mapping[str, bytes]:
    """Files of other kinds, whole where that is easy."""
    image = cv2.cvtColor(mosaic(SIDE, SIDE, Random(2)), cv2.COLOR_RGB2BGR)
    others = {
        name: cv2.imencode(f".{name}", image)[1].tobytes()
        for name in ("bmp", "tiff", "ppm", "gif", "avif", "hdr")
        if cv2.haveImageWriter(f"x.{name}")
    }
    return others | {
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "html": b"<!doctype html><script>alert(1)</script>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "zip": b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "json": b'{"image": "../../etc/passwd"}',
        "text": "ünïcödé".encode("utf-16"),
        "riff": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(28),
        "nul": bytes(1000),
    }


def truncated(random: Random) -> Case:
    """The beginning of a file, never all of it."""
    data = random.choice(honest())
    end = random.choice([random.randrange(1, len(data)), len(data) - 1, random.randrange(1, 64)])
    return picture_case("truncated", data[:end])


def flipped(random: Random) -> Case:
    """A few bits are others."""
    data = bytearray(random.choice(honest()))
    for _ in range(2 ** random.randrange(8)):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return picture_case("flipped", bytes(data), may_succeed=True)


def repaired(random: Random) -> Case:
    """A PNG with other bits whose checksums are right: the damage reaches the decoder."""
    width, height = random.choice([(SIDE, SIDE), (1, 1), (random.randrange(1, 300), random.randrange(1, 300))])
    depth, colour = (
        random.choice([1, 2, 4, 8, 16, random.randrange(256)]),
        random.choice([0, 2, 3, 4, 6, random.randrange(256)]),
    )
    pixels = random.choice([random.randbytes(50), zlib.compress(random.randbytes(500)), zlib.compress(b""), b""])
    more = images.chunk(
        random.choice([b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sBIT", b"iCCP", b"eXIf", b"acTL", b"fcTL"]),
        random.randbytes(random.randrange(40)),
    )
    return picture_case(
        "repaired",
        images.png(width, height, depth=depth, colour=colour, pixels=pixels, more=more, interlace=random.randrange(3)),
        may_succeed=True,
    )


def spliced(random: Random) -> Case:
    """The beginning of one file and the end of another."""
    first, second = random.choice(honest()), random.choice(honest())
    data = first[: random.randrange(8, len(first))] + second[random.randrange(len(second)) :]
    return picture_case("spliced", data, may_succeed=True)


def noise(random: Random) -> Case:
    """Chance, with or without a right beginning."""
    magic = random.choice(
        [
            b"",
            images.SIGNATURE,
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe0",
            b"RIFF\x64\0\0\0WEBP",
            b"RIFF\xff\xff\xff\xffWEBPVP8L",
        ]
    )
    return picture_case("noise", magic + random.randbytes(random.randrange(1, 4000)))


def of_other_kind(random: Random) -> Case:
    """Another kind of file, or none."""
    name = random.choice([*foreign(), "empty"])
    if name == "empty":
        return picture_case("other kind/empty", b"")
    return picture_case(f"other kind/{name}", foreign()[name], only=UNKNOWN)


def bomb(random: Random) -> Case:
    """A small file of a great many pixels, which says so."""
    huge = random.choice([2**31 - 1, 2**31, 2**32 - 1, 2**24, 65_535, 30_000])
    kinds: dict[str, Callable[[], bytes]] = {
        "gigapixel in 1 kB": lambda: images.gigapixel(whole=False),
        "gigapixel, whole": lambda: images.gigapixel(whole=True),
        "png square": lambda: images.png(30_000, 30_000, pixels=images.black(1000)),
        "png 16 bits": lambda: images.png(30_000, 30_000, depth=16, colour=6, pixels=images.black(10**6)),
        "png row": lambda: images.png(huge, random.choice([1_000_001, huge]), pixels=images.black(1000)),
        "png interlaced": lambda: images.png(20_000, 20_000, pixels=images.black(1000), interlace=1),
        "png above the limit": lambda: images.png(1001, 1000),
        "jpeg": lambda: images.jpeg_resized(honest()[2], 65_500, random.choice([65_500, 16, 65_535])),
        "webp": lambda: images.webp_flat(random.choice([16_383, 16_384]), random.choice([16_383, 1200])),
        "webp canvas": lambda: images.webp_canvas(2**24, 2**24 - 1, images.riff_chunk(b"VP8L", b"\x2f" + bytes(20))),
    }
    name = random.choice([*kinds])
    return picture_case(f"bomb/{name}", kinds[name](), only=TOO_LARGE, within_s=2.0)


def sizes(random: Random) -> Case:
    """No pixels, or as many as no file holds."""
    sides = [0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1]
    width, height = random.choice(sides), random.choice(sides)
    if 0 < width * height <= MAX_PIXELS:
        width = 0
    jpeg = images.jpeg_resized(honest()[2], random.choice([0, 1]), 0)
    return picture_case(
        "sizes",
        random.choice(
            [images.png(width, height, pixels=b""), images.png(width, height, pixels=images.black(100)), jpeg]
        ),
        within_s=2.0,
    )


def unpacking(random: Random) -> Case:
    """What unpacks to more than it looks: text, colour profiles, empty chunks, scans, profiles in a thousand pieces."""
    profile = b"ICC_PROFILE\0" + bytes([random.randrange(256), random.randrange(256)])
    kinds: dict[str, Callable[[], bytes]] = {
        "zTXt": lambda: images.png(SIDE, SIDE, more=images.text_bomb(b"zTXt", 10**8)),
        "iCCP": lambda: images.png(SIDE, SIDE, more=images.text_bomb(b"iCCP", 10**8)),
        "iCCPs": lambda: images.png(SIDE, SIDE, more=images.text_bomb(b"iCCP", 10**6) * 20),
        "65535 chunks": lambda: images.png(SIDE, SIDE, more=images.chunk(b"tEXt", b"a\0b") * 65_535),
        "more pixels than promised": lambda: images.png(SIDE, SIDE, pixels=images.black(10**8)),
        "exif turns round": lambda: images.jpeg_with(
            honest()[2], 0xE1, images.exif(bytes(12) * 10, 65_535, random.choice([0, 8, 2**32 - 1]))
        ),
        "icc in pieces": lambda: images.jpeg_with(honest()[2], 0xE2, profile + random.randbytes(100)),
        "icc alone": lambda: images.riff(images.riff_chunk(b"ICCP", random.randbytes(500)) + honest()[4][12:]),
    }
    name = random.choice([*kinds])
    return picture_case(f"unpacking/{name}", kinds[name](), may_succeed=True)


def scans(random: Random) -> Case:
    """A progressive JPEG whose picture is gone over tens of thousands of times: minutes of work in a small file."""
    return picture_case(
        "scans", images.jpeg_of_scans(random.randrange(91, 125), random.randrange(20_000, 100_000)), within_s=5.0
    )


def lengths(random: Random) -> Case:
    """Segments and chunks that are longer than they say, or shorter."""
    length = random.choice([0, 1, 2, 2**16 - 1])
    whole, parts = honest()[4], [b"VP8X", b"VP8 ", b"VP8L", b"EXIF"]
    kinds: dict[str, Callable[[], bytes]] = {
        "jpeg": lambda: images.jpeg_with(honest()[2], random.randrange(0xC0, 0xFF), random.randbytes(9), length),
        "jpeg filled": lambda: honest()[2][:2] + b"\xff" * 10**6 + honest()[2][2:],
        "png": lambda: images.SIGNATURE + random.choice([b"\x7f", b"\xff"]) + b"\xff\xff\xffIHDR" + bytes(30),
        "png without header": lambda: images.SIGNATURE + images.chunk(b"IEND", b""),
        "png header alone": lambda: images.png(SIDE, SIDE)[:33] + images.chunk(b"IEND", b""),
        "webp": lambda: images.riff(whole[12:], random.choice([0, 3, 4, 12, 2**32 - 1])),
        "webp chunk": lambda: images.riff(images.riff_chunk(b"VP8 ", b"", random.choice([0, 1, 2**32 - 1]))),
        "webp short": lambda: images.riff(images.riff_chunk(random.choice(parts), bytes(random.randrange(10)))),
    }  # fmt: skip
    name = random.choice([*kinds])
    return picture_case(f"lengths/{name}", kinds[name](), may_succeed=name in ("jpeg", "jpeg filled"))


FAMILIES: Mapping[Callable[[Random], Case], int] = {
    truncated: 20, flipped: 20, repaired: 10, spliced: 8, noise: 8, of_other_kind: 8, bomb: 12, sizes: 6, unpacking: 4,
    scans: 1, lengths: 6,
}  # fmt: skip
"""Each with its share of the requests."""
