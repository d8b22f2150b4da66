"""TIFF: directories, strips and tiles. Sources: TIFF 6.0 (Aldus); BigTIFF; Adobe's TIFF technical notes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.formats import exif
from repsr_deploy.imaging.formats.base import (
    MAX_METADATA_BYTES,
    MAX_PARTS,
    MAX_PROFILE_BYTES,
    Container,
    cut_off,
    damaged,
    is_gray,
    too_many_parts,
)
from repsr_deploy.imaging.formats.ifd import Block, Directory, Value, longs, shorts

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 7, 8, 32946, 32773, 34925, 50000
_FAX = (2, 3, 4)
_COLOURS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_NAMES = {8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "raw sensor samples", 32844: "LogL", 32845: "LogLuv"}
ASSOCIATED, UNASSOCIATED = 1, 2
_REDUCED, _PAGE_OF_OTHER_KIND = 1, 4 + 8  # of NewSubfileType: a smaller copy; a mask
_MOST_PAGES = 2**16
_MOST_SAMPLES = 32
_OF_CODECS = (258, 262, 266, 277, 338, 530)  # bits, colours, order of bits, samples, extras, subsampling
_FAX_OPTIONS, _JPEG_TABLES = 292, 347


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the samples of a TIFF's first picture are stored."""

    order: str
    width: int
    height: int
    bits: int
    """Of each sample: 1, 2, 4, 8 or 16."""
    samples: int
    """Of each pixel."""
    photometric: int
    extras: tuple[int, ...]
    """What the samples behind the colours mean."""
    palette: tuple[int, ...]
    """Reds, greens and blues, 0 to 65535."""
    compression: int
    differences: bool
    """Samples are stored as differences to the pixel before."""
    separate: bool
    """One plane after the other."""
    reversed_bits: bool
    block_width: int
    block_height: int
    tiled: bool
    """Else strips: the last one has fewer rows."""
    blocks: tuple[tuple[int, int], ...]
    """Place and length of each, row by row, plane by plane."""
    codec_values: dict[int, Value] | None
    """Where blocks are pictures themselves (JPEG, fax), or have samples of several resolutions: what else it takes to
    decode one."""

    @property
    def colours(self) -> int:
        """Samples of a pixel that are no extras."""
        return _COLOURS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """Which sample is alpha."""
        return next((self.colours + i for i, kind in enumerate(self.extras) if kind in (1, 2)), None)

    @property
    def premultiplied(self) -> bool:
        """Whether colours have been multiplied by alpha."""
        return self.alpha is not None and self.extras[self.alpha - self.colours] == ASSOCIATED

    @property
    def channels(self) -> int:
        """Of what is decoded."""
        third = len(self.palette) // 3
        gray_palette = is_gray(*(struct.pack(f"{third}H", *self.palette[i * third :][:third]) for i in range(3)))
        gray = self.photometric in (MIN_IS_WHITE, MIN_IS_BLACK) or (self.photometric == PALETTE and gray_palette)
        return (1 if gray else 3) + (self.alpha is not None)


def read_tiff(data: memoryview) -> Container:
    """Walk the directories of a TIFF; its first picture must be whole.

    Raises:
        ImageFileError: cut off, damaged, or of a kind that is not read.
        struct.error: cut off.
    """
    block = Block.of(data)
    main = block.directory(block.first)
    layout = _layout(block, main)
    losses: list[str] = []
    unknown = layout.samples - layout.colours - (layout.alpha is not None)
    if unknown:
        losses.append(f"has {unknown} channels beside colour and alpha, which are left out")
    try:
        described = exif.block_of_tiff(block, main)
    except (struct.error, ImageFileError):
        described = None
        losses.append("has damaged EXIF tags, which are left out")
    orientation = _tolerant(block, main, exif.ORIENTATION, 1)
    return Container(
        format="tiff",
        width=layout.width,
        height=layout.height,
        channels=layout.channels,
        sample_bytes=2 if layout.bits == 16 else 1,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        cmyk=layout.photometric == CMYK,
        palette=layout.photometric == PALETTE,
        pages=_pages(block, main),
        icc_profile=_bytes(block, main, exif.ICC, MAX_PROFILE_BYTES),
        exif=described,
        xmp=_bytes(block, main, exif.XMP, MAX_METADATA_BYTES),
        density=_density(block, main),
        losses=tuple(losses),
    )


def layout_of(data: memoryview) -> Layout:
    """How the first picture is stored. Raises: as `read_tiff`."""
    block = Block.of(data)
    return _layout(block, block.directory(block.first))


def _layout(block: Block, main: Directory) -> Layout:
    def number(tag: int, default: int = 0) -> int:
        return block.number(main, tag, default)

    width, height, samples = number(256), number(257), number(277, 1)
    bits = block.numbers(main, 258, (1,))
    photometric, compression = number(262, MIN_IS_BLACK), number(259, NONE)
    if 50706 in main.entries or number(254) & _REDUCED:
        raise ImageFileError("its first picture is a reduced one, as in raw photographs; expected a developed picture")
    if not width or not height or width >= 2**31 or height >= 2**31 or not 1 <= samples <= _MOST_SAMPLES:
        raise ImageFileError(f"it claims {width} x {height} pixels of {samples} samples; expected a picture")
    kinds = set(block.numbers(main, 339, (1,)))
    if photometric not in _COLOURS:
        kind = _NAMES.get(photometric, f"kind {photometric}")
        raise ImageFileError(f"its colours are {kind}; expected gray, RGB, CMYK or a palette, so convert it")
    if kinds - {1, 4}:
        raise ImageFileError("its samples are floating point or signed; expected 8 or 16 bits from 0, so convert it")
    if len(set(bits)) > 1 or bits[0] not in (1, 2, 4, 8, 16) or (samples > 1 and bits[0] < 8):
        raise ImageFileError(f"its samples have {bits[0]} bits; expected 8 or 16, so convert it")
    if samples < _COLOURS[photometric]:
        raise damaged(f"TIFF has {samples} samples for {_COLOURS[photometric]} colours")
    tiled = 322 in main.entries
    separate = number(284, 1) == 2 and samples > 1
    pictures = compression == JPEG or compression in _FAX or photometric == YCBCR
    if pictures and (bits[0] not in (1, 8) or separate or (photometric == CMYK and samples > 4)):
        raise ImageFileError(f"it is compressed in way {compression} with {samples} x {bits[0]} bits; save it with LZW")
    return Layout(
        order=block.order,
        width=width,
        height=height,
        bits=bits[0],
        samples=samples,
        photometric=photometric,
        extras=_extras(block, main, samples - _COLOURS[photometric]),
        palette=_palette(block, main, bits[0]) if photometric == PALETTE else (),
        compression=compression,
        differences=_differences(number(317, 1), bits[0], compression),
        separate=separate,
        reversed_bits=number(266, 1) == 2,
        block_width=number(322) if tiled else width,
        block_height=number(323) if tiled else min(number(278, height), height),
        tiled=tiled,
        blocks=_blocks(block, main, tiled, compression),
        codec_values=_codec_values(block, main) if pictures else None,
    )


def _codec_values(block: Block, main: Directory) -> dict[int, Value]:
    """Bits, colours and tables of blocks that are pictures, in little-endian order."""
    values = {tag: shorts("<", *block.numbers(main, tag)) for tag in _OF_CODECS if tag in main.entries}
    if _FAX_OPTIONS in main.entries:
        values[_FAX_OPTIONS] = longs("<", block.number(main, _FAX_OPTIONS))
    if _JPEG_TABLES in main.entries:
        values[_JPEG_TABLES] = block.value(main.entries[_JPEG_TABLES])
    return values


def _extras(block: Block, main: Directory, count: int) -> tuple[int, ...]:
    """What the samples behind the colours mean; one that nothing is said of is alpha, as OpenCV and others write it."""
    said = block.numbers(main, 338, (UNASSOCIATED,) if count == 1 else ())
    return (*said, *(0,) * count)[:count]


def _palette(block: Block, main: Directory, bits: int) -> tuple[int, ...]:
    palette = block.numbers(main, 320)
    if bits > 8 or len(palette) != 3 * 2**bits:
        raise damaged(f"TIFF has a palette of {len(palette)} numbers for {bits} bits")
    return palette


def _differences(predictor: int, bits: int, compression: int) -> bool:
    if predictor == 1 or compression not in (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD):
        return False
    if predictor != 2 or bits < 8:
        raise ImageFileError(f"it has predictor {predictor} for {bits} bits; expected another, so save it again")
    return True


def _blocks(block: Block, main: Directory, tiled: bool, compression: int) -> tuple[tuple[int, int], ...]:
    if compression not in (NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA, ZSTD, *_FAX):
        raise ImageFileError(f"it is compressed in way {compression}; expected LZW, deflate or JPEG, so save it again")
    places, lengths = (324, 325) if tiled else (273, 279)
    for tag in (places, lengths):
        if tag in main.entries and main.entries[tag].count > MAX_PARTS:
            raise too_many_parts("TIFF strips or tiles")
    starts, sizes = block.numbers(main, places), block.numbers(main, lengths)
    if not starts or len(starts) != len(sizes):
        raise damaged(f"TIFF has {len(starts)} places of {len(sizes)} strips or tiles")
    for start, size in zip(starts, sizes, strict=True):
        if start + size > len(block.data):
            raise cut_off(block.data)
    return tuple(zip(starts, sizes, strict=True))


def _pages(block: Block, main: Directory) -> int:
    """Pictures of full size in the file; what cannot be read is none."""
    seen, pages, at = {block.first}, 1, main.following
    try:
        while at and at not in seen and len(seen) < _MOST_PAGES:
            seen.add(at)
            page = block.directory(at)
            pages += not block.number(page, 254) & (_REDUCED | _PAGE_OF_OTHER_KIND)
            at = page.following
    except (struct.error, ImageFileError):
        pass
    return pages


def _bytes(block: Block, main: Directory, tag: int, most: int) -> bytes | None:
    if tag not in main.entries or not 0 < main.entries[tag].count <= most:
        return None
    try:
        return block.value(main.entries[tag]).data
    except (struct.error, ImageFileError):
        return None


def _tolerant(block: Block, main: Directory, tag: int, default: int) -> int:
    try:
        return block.number(main, tag, default)
    except (struct.error, ImageFileError):
        return default


def _density(block: Block, main: Directory) -> tuple[float, float] | None:
    """Pixels an inch: resolutions are fractions of two numbers each, of an inch (2) or a centimetre (3)."""
    unit = {2: 1.0, 3: 2.54}.get(_tolerant(block, main, 296, 2))
    values: list[float] = []
    for tag in (282, 283):
        data = _bytes(block, main, tag, 8) or b""
        above, below = struct.unpack(block.order + "II", data) if len(data) == 8 else (0, 0)
        if unit is None or not above or not below:
            return None
        values.append(above / below * unit)
    return (values[0], values[1])
