"""Before and after, side by side: what comes out of the bundled models, where they are good and where they are not.

Every row starts from a picture that is known in full. It is reduced (MATLAB-style bicubic, as in the literature), put
through what the row is about (JPEG, gray, transparency), enlarged again, and shown beside the truth. Without PHOTO the
pictures are those inside scikit-image, which are in the public domain or CC0, and none of which a model was trained on.
PSNR is that of whole pictures, on luma as in the literature (`repsr-eval`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from repsr_deploy.compare.pictures import bicubic, on_checkerboard
from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.folders import find_images
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.samples import Image, as_uint8
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import crop_to_multiple, reduce
from repsr_deploy.metrics.quality import measure

OUT = Path("docs/images/gallery.webp")
QUALITY = 92
TILE, GAP, HEAD, CAPTION = 264, 8, 34, 50
"""Pixels: side of a tile, between tiles, above the first row, above every row."""
COLUMNS = ("Small picture, as squares", "Bicubic", "repsr-upscale", "Original")
PAPER, INK, MUTED = (255, 255, 255), (24, 24, 27), (95, 99, 107)
SUPERSAMPLING = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """One picture, and what is shown of it."""

    title: str
    note: str
    original: Image
    """uint8, in the layout that is enlarged."""
    scale: int
    at: tuple[int, int]
    """Top left corner (row, column) of what is shown, pixels of the original."""
    side: int = 88
    """Pixels of the original that a tile shows."""
    jpeg_quality: int | None = None
    """Of the file that the small picture has been in; None for one that loses nothing."""


def built_in() -> list[Row]:
    """Rows of scikit-image's pictures: four that show strengths, two that show limits."""
    return [
        Row(
            title="A photograph, 2 times", note="An eye and fur. Chelsea: Stefan van der Walt, CC0",
            original=skimage.data.chelsea(), scale=2, at=(84, 116),
        ),
        Row(
            title="Gray, 2 times", note="Stays gray, one channel. Cameraman: Lav Varshney, CC0",
            original=skimage.data.camera(), scale=2, at=(92, 196),
        ),
        Row(
            title="A photograph, 4 times", note="16 pixels from one. Eileen Collins: NASA, public domain",
            original=skimage.data.astronaut(), scale=4, at=(60, 170), side=132,
        ),
        Row(
            title="Text with transparency, 2 times", note="No fringes; alpha goes through the same network. Drawn here",
            original=lettering(), scale=2, at=(4, 4),
        ),
        Row(
            title="Limit: JPEG, quality 50, 2 times",
            note="The models want clean pictures: blocks stay. Coffee: Rachel Michetti, CC0",
            original=skimage.data.coffee(), scale=2, at=(70, 330), jpeg_quality=50,
        ),
        Row(
            title="Limit: fine texture, 4 times", note="What is lost is not invented. Grass: Linolafett, CC0",
            original=skimage.data.grass(), scale=4, at=(200, 200), side=132,
        ),
    ]  # fmt: skip


def lettering() -> Image:
    """Coloured text on nothing: drawn large and reduced by area, so that its edges are as smooth as they can be."""
    height, width, fine = 100, 100, SUPERSAMPLING
    large = PillowImage.new("L", (width * fine, height * fine))
    pen = ImageDraw.Draw(large)
    pen.text((8 * fine, 4 * fine), "RepSR", 255, font=ImageFont.load_default(27 * fine))
    pen.text((9 * fine, 42 * fine), "small letters", 255, font=ImageFont.load_default(12.5 * fine))
    pen.ellipse([each * fine for each in (10, 66, 32, 88)], outline=255, width=3 * fine)
    pen.line([each * fine for each in (40, 88, 86, 66)], fill=255, width=2 * fine)
    alpha = cv2.resize(np.asarray(large), (width, height), interpolation=cv2.INTER_AREA)
    colour = np.broadcast_to(np.array([190, 18, 60], np.uint8), (height, width, 3))
    return np.concatenate([colour, alpha[..., None]], axis=2)


def rows_of(path: Path) -> list[Row]:
    """Two rows of a photograph, 2 and 4 times, that show where it has most detail."""
    original = as_uint8(read_image(path))
    rows: list[Row] = []
    for scale, side in ((2, 88), (4, 132)):
        cropped = crop_to_multiple(original, 4)
        if min(cropped.shape[:2]) < side:
            raise RepsrError(
                f"{path} has {original.shape[1]} x {original.shape[0]} pixels; expected {side} or more a side"
            )
        at = most_detail(cropped, side)
        rows.append(Row(title=f"{path.stem}, {scale} times", note="", original=cropped, scale=scale, at=at, side=side))
    return rows


def most_detail(image: Image, side: int) -> tuple[int, int]:
    """Where a square of this side holds the most edges: nobody chose it."""
    gray = on_checkerboard(image).mean(axis=2, dtype=np.float32)
    edges = np.abs(cv2.Laplacian(gray, cv2.CV_32F))
    sums = cv2.boxFilter(edges, -1, (side, side), anchor=(0, 0), normalize=False)
    inside = sums[: gray.shape[0] - side + 1, : gray.shape[1] - side + 1]
    row, column = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return int(row) // 4 * 4, int(column) // 4 * 4


def tiles_of(row: Row, upscaler: Upscaler) -> list[tuple[Image, str]]:
    """The four tiles of a row, H x W x 3, each with what is written under its heading."""
    truth = crop_to_multiple(row.original, row.scale)
    small = small_picture(row, truth)
    height, width = truth.shape[:2]
    plain, made = bicubic(small, height, width), upscaler.upscale(small)
    squares = small.repeat(row.scale, axis=0).repeat(row.scale, axis=1)
    plain_db, made_db = (f"{quality(each, truth, row.scale):.2f} dB" for each in (plain, made))
    shown = [(squares, f"{small.shape[1]} x {small.shape[0]}"), (plain, plain_db), (made, made_db)]
    return [(crop(image, row), said) for image, said in [*shown, (truth, f"{width} x {height}")]]


def small_picture(row: Row, truth: Image) -> Image:
    """What is enlarged."""
    if truth.ndim == 3 and truth.shape[2] == 4:
        return bicubic(truth, truth.shape[0] // row.scale, truth.shape[1] // row.scale)
    small = reduce(truth, row.scale)
    if row.jpeg_quality is None:
        return small
    return decode_image(encode_image(small, "jpeg", quality=row.jpeg_quality)).image_hwc


def quality(image: Image, truth: Image, scale: int) -> float:
    """PSNR on luma without the border, transparent pictures over the checkerboard on which they are shown."""
    seen = (np.broadcast_to(on_checkerboard(each), (*each.shape[:2], 3)) for each in (image, truth))
    found = measure(*seen, border=scale, metrics=("psnr_y",)).psnr_y
    assert found is not None
    return found


def crop(image: Image, row: Row) -> Image:
    """What is shown, every pixel as a square."""
    top, left = row.at
    part = on_checkerboard(image)[top : top + row.side, left : left + row.side]
    shown = cv2.resize(part, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    return np.broadcast_to(shown.reshape(TILE, TILE, -1), (TILE, TILE, 3))


def compose(rows: Sequence[Row], upscalers: dict[int, Upscaler]) -> Image:
    """All rows on one sheet."""
    width = len(COLUMNS) * TILE + (len(COLUMNS) + 1) * GAP
    sheet = PillowImage.new("RGB", (width, HEAD + len(rows) * (CAPTION + TILE) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    heading, bold, plain = (ImageFont.load_default(size) for size in (16, 15, 13))
    lefts = [GAP + index * (TILE + GAP) for index in range(len(COLUMNS))]
    for left, column in zip(lefts, COLUMNS, strict=True):
        pen.text((left, 10), column, INK, font=heading)
    for index, row in enumerate(rows):
        top = HEAD + index * (CAPTION + TILE)
        pen.text((GAP, top + 8), row.title, INK, font=bold)
        pen.text((width - GAP, top + 9), row.note, MUTED, font=plain, anchor="ra")
        for left, (tile, said) in zip(lefts, tiles_of(row, upscalers[row.scale]), strict=True):
            pen.text((left, top + 29), said, MUTED, font=plain)
            sheet.paste(PillowImage.fromarray(tile), (left, top + CAPTION))
    return np.asarray(sheet)


def main(args: Sequence[str]) -> int:
    """Make the gallery."""
    parser = argparse.ArgumentParser(prog="scripts/gallery", description=__doc__)
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="pictures, and folders of them")
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="file to write (default: %(default)s)")
    parser.add_argument("--most", type=int, default=6, help="photographs of those given (default: %(default)s)")
    given = parser.parse_args(args)
    try:
        found = find_images(given.photos).images[: given.most]
        rows = [row for photo in found for row in rows_of(photo)] or built_in()
        upscalers = {scale: Upscaler(f"photo-x{scale}", runtime="onnxruntime") for scale in (2, 4)}
        write_image(given.out, compose(rows, upscalers), quality=QUALITY)
    except RepsrError as error:
        print(f"scripts/gallery: error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"written {given.out}: {len(rows)} rows, {given.out.stat().st_size / 1e3:.0f} kB")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
