"""Image files of every kind that the formats have, made by another library or byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

RGB: NDArray[np.uint8] = skimage.data.astronaut()[20:61, 150:187]
SRGB: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def gray_profile() -> bytes:
    """A profile that says so, and nothing more."""
    return b"\0\0\0\x80" + SRGB[4:16] + b"GRAY" + SRGB[20:128] + bytes(4)


def large_profile(size: int) -> bytes:
    """A profile that does not compress."""
    noise = np.random.default_rng(size).integers(0, 256, size - len(SRGB), dtype=np.uint8).tobytes()
    return struct.pack(">I", size) + SRGB[4:] + noise


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    """The signature and IHDR."""
    return PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def png(colour: int, depth: int, *, transparent: bool = False, interlaced: bool = False, seed: int = 0) -> bytes:
    """A PNG of 13 x 7 random samples, of any colour type (PNG 1.2, section 4.1.1) and depth."""
    random = np.random.default_rng(seed)
    width, height, samples = 13, 7, b""
    for left, top, right, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        row_bytes = (columns * _CHANNELS[colour] * depth + 7) // 8
        samples += b"".join(b"\0" + random.bytes(row_bytes) for _ in range(rows if columns > 0 else 0))
    palette = chunk(b"PLTE", random.bytes(3 * 2**depth)) if colour == 3 else b""
    body = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\x80\x10"}.get(colour, b"")
    alpha = chunk(b"tRNS", body) if transparent else b""
    header = png_header(width, height, depth, colour, int(interlaced))
    return header + palette + alpha + chunk(b"IDAT", zlib.compress(samples)) + chunk(b"IEND", b"")


def by_pillow(form: str, mode: str = "RGB", image: Any = RGB, **options: Any) -> bytes:
    """A file that Pillow writes; alpha is a picture of its own."""
    picture = Pillow.fromarray(image).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Pillow.fromarray(np.ascontiguousarray(image[::-1, :, 0])))
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def animated(form: str, mode: str = "RGB") -> bytes:
    """Two pictures, one after the other."""
    second = Pillow.fromarray(np.ascontiguousarray(RGB[::-1])).convert(mode)
    return by_pillow(form, mode, save_all=True, append_images=[second], duration=100)


@cache
def every_kind() -> dict[str, bytes]:
    """Small files of every kind, by name."""
    turned = Pillow.Exif()
    turned[0x0112] = 6
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    files = {
        f"png colour {colour} depth {depth}{' tRNS' * transparent}{' interlaced' * interlaced}": png(
            colour, depth, transparent=transparent, interlaced=interlaced
        )
        for colour, of_colour in depths.items()
        for depth in of_colour
        for transparent in ((False, True) if colour in (0, 2, 3) else (False,))
        for interlaced in (False, True)
    }
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "progressive": {"progressive": True},
        "4:4:4": {"subsampling": 0},
        "4:2:2 restarts": {"subsampling": 1, "restart_marker_rows": 1},
        "turned": {"exif": turned, "icc_profile": large_profile(150_000)},
    }
    for mode in ("L", "RGB", "CMYK"):
        files |= {f"jpeg {mode} {name}": by_pillow("JPEG", mode, **way) for name, way in ways.items()}
    for mode in ("L", "RGB", "RGBA"):
        for lossless in (False, True):
            files[f"webp {mode}{' lossless' * lossless}"] = by_pillow("WEBP", mode, lossless=lossless)
            files[f"webp {mode}{' lossless' * lossless} extended"] = by_pillow(
                "WEBP", mode, lossless=lossless, exif=turned, icc_profile=SRGB
            )
    for form in ("PNG", "WEBP"):
        files |= {f"{form.lower()} {mode} animated": animated(form, mode) for mode in ("L", "RGB", "RGBA")}
    return files


def opencv_avif(image: Any, depth: int = 8, quality: int = 100) -> bytes:
    """An AVIF that OpenCV writes, of samples (BGR) in so many bits."""
    options = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, quality]
    return cv2.imencode(".avif", image, options)[1].tobytes()


def by_tifffile(image: Any, **options: Any) -> bytes:
    """A file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


def rle8_bmp() -> bytes:
    """Run lengths (GDI, bitmap compression): runs, literal pixels, a jump, the ends of rows and of the picture."""
    palette = b"".join(bytes((number, 255 - number, number // 2, 0)) for number in range(256))
    rows = b"\5\7\0\3\1\2\3\0\0\0" + b"\0\2\4\0\4\11\0\0" + b"\10\377\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 8, 3, 1, 8, 1, len(rows), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


@cache
def other_kinds() -> dict[str, bytes]:
    """Small files of the formats that services do not read, by name."""
    alpha = np.dstack((RGB, RGB[::-1, :, 0]))
    deep = RGB.astype(np.uint16) * 257
    turned = Pillow.Exif()
    turned[0x0112] = 6
    files: dict[str, bytes] = {}
    for way in ("raw", "tiff_lzw", "packbits", "zstd", "lzma", "jpeg", "tiff_adobe_deflate"):
        files[f"tiff rgb {way}"] = by_pillow("TIFF", compression=way, tiffinfo={278: 8})
    for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"):
        files[f"tiff {mode}"] = by_pillow("TIFF", mode, compression="tiff_lzw", exif=turned)
    files["tiff group4"] = by_pillow("TIFF", "1", compression="group4")
    files["tiff pages"] = by_pillow("TIFF", save_all=True, append_images=[Pillow.fromarray(RGB[::-1])])
    for order in "<>":
        files[f"tiff {order} tiles"] = by_tifffile(
            deep, byteorder=order, bigtiff=True, tile=(16, 32), compression="zlib", predictor=True, photometric="rgb"
        )
        files[f"tiff {order} planes"] = by_tifffile(
            np.moveaxis(alpha, -1, 0), byteorder=order, photometric="rgb", planarconfig="separate", rowsperstrip=10,
            extrasamples=["assocalpha"],
        )  # fmt: skip
    files["bmp rle8"] = rle8_bmp()
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        files[f"bmp {mode}"] = by_pillow("BMP", mode)
    for mode in ("L", "RGB", "RGBA"):
        files[f"avif {mode}"] = by_pillow("AVIF", mode, quality=90, exif=turned, icc_profile=SRGB)
    for depth in (10, 12):
        files[f"avif {depth} bits"] = opencv_avif(RGB.astype(np.uint16) << depth - 8, depth)
        files[f"avif {depth} bits gray"] = opencv_avif(RGB[..., 0].astype(np.uint16) << depth - 8, depth)
    files["avif animated"] = animated("AVIF")
    files |= {f"gif {mode}": by_pillow("GIF", mode) for mode in ("L", "P", "RGBA")}
    files["gif animated"] = animated("GIF", "P")
    return files
