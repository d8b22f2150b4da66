"""Frames of video as RGB and back, by the matrix, range and chroma location of the video itself.

All in float32 and rounded once, so that RGB is the nearest to what ITU-R BT.601, BT.709 and BT.2020 say, and 8 bits in
tv range come back as they were. Codes that mean no colour (blacker than black, whiter than white) are clipped.
PQ and HLG are signals like any other: nothing is mapped to another brightness.
"""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.video.chroma_planes import enlarged_columns, enlarged_rows, padded, reduced_columns, reduced_rows
from repsr_deploy.video.pixel_formats import Layout, Samples, in_format, in_planar, layout_of, planes_of
from repsr_deploy.video.tags import Colour, Range, assumed_matrix, colour_of
from repsr_kernels.yuv import YuvColour

__all__ = ["Colour", "Image", "Range", "assumed_matrix", "colour_of", "image_of", "to_frame"]

Image = NDArray[Any]
BAND_PIXELS = 2**16
"""Converted at once: what lies between the steps stays in the processor's cache."""


def image_of(frame: av.VideoFrame, colour: Colour) -> Image:
    """RGB H x W x 3, RGBA H x W x 4 or gray H x W of a frame: uint8 for 8 bits, else uint16, both of full scale.

    Raises:
        VideoFileError: a pixel format or a matrix that is not known.
    """
    layout = layout_of(frame.format.name)
    planes = planes_of(in_planar(frame))
    kind = np.uint8 if layout.bits == 8 else np.uint16
    if layout.kind == "yuv":
        image = np.empty((frame.height, frame.width, 4 if layout.alpha else 3), kind)
        _fill_from_yuv(image, planes, layout, colour)
        return image
    black, gain = _levels(colour.range, layout.bits)
    full_scale = np.iinfo(kind).max
    scaled = [_affine(plane, full_scale / gain, -black * full_scale / gain, kind) for plane in planes[:3]]
    if layout.alpha:
        scaled.append(_scaled_alpha(planes[3], layout.bits, kind))
    return scaled[0] if len(scaled) == 1 else cv2.merge(scaled)


def to_frame(image_hwc: Image, colour: Colour, pix_fmt: str) -> av.VideoFrame:
    """A frame for an encoder, with its tags; without a time.

    Args:
        image_hwc: RGB H x W x 3, RGBA H x W x 4 or gray H x W; uint8 or uint16 of full scale.
        colour: of the video; see `Colour.in_format` for what becomes of it in another kind of pixel format.
        pix_fmt: FFmpeg's name. Without alpha in it, that of the image is dropped.

    Raises:
        VideoFileError: a pixel format or a matrix that is not known.
    """
    colour = colour.in_format(pix_fmt)
    layout = layout_of(pix_fmt)
    height, width = image_hwc.shape[:2]
    frame = av.VideoFrame(width, height, layout.planar)
    planes = planes_of(frame)
    if layout.kind == "yuv":
        _fill_yuv(planes, _with_colours(image_hwc), layout, colour)
    elif layout.kind == "gray":
        _fill_gray(planes[0], image_hwc, layout, colour)
    else:
        black, gain = _levels(colour.range, layout.bits)
        for plane, channel in zip(planes, cv2.split(_with_colours(image_hwc)), strict=False):
            _put(plane, _affine(channel, gain / _full_scale(image_hwc), black, plane.dtype), layout.bits)
    if layout.alpha:
        _fill_alpha(planes[3], image_hwc, layout.bits)
    colour.tag(frame)  # before, too: else swscale would change the range of some formats
    packed = in_format(frame, pix_fmt)
    colour.tag(packed)
    return packed


def _fill_from_yuv(image: Image, planes: list[Samples], layout: Layout, colour: Colour) -> None:
    full_scale, (factor_x, factor_y) = _full_scale(image), layout.factors
    yuv = YuvColour(matrix=colour.name, full_range=colour.range == "pc")
    to_rgb = yuv.colours(layout.bits) * full_scale
    constant = -to_rgb @ yuv.codes(layout.bits)[1]
    at_x, at_y = _position(colour, layout)
    luma, (blue, red) = planes[0], (padded(plane, 1, 1, 1, 1) for plane in planes[1:3])
    height, width = luma.shape
    chroma_rows = planes[1].shape[0]
    step = max(1, BAND_PIXELS // width // factor_y)
    for start in range(0, chroma_rows, step):
        some = slice(start, min(start + step, chroma_rows) + 2)
        rows = slice(start * factor_y, min((start + step) * factor_y, height))
        channels: list[Image] = []
        for (of_luma, of_blue, of_red), addend in zip(to_rgb, constant, strict=True):
            chroma = cv2.addWeighted(blue[some], of_blue, red[some], of_red, addend, dtype=cv2.CV_32F)
            tall = enlarged_rows(chroma, factor_y, at_y)[: rows.stop - rows.start]
            whole = enlarged_columns(tall, factor_x, at_x)[:, :width]
            channels.append(cv2.addWeighted(luma[rows], of_luma, whole, 1, 0, dtype=_depth(image.dtype)))
        if layout.alpha:
            channels.append(_scaled_alpha(planes[3][rows], layout.bits, image.dtype))
        image[rows] = cv2.merge(channels)


def _fill_yuv(planes: list[Samples], image: Image, layout: Layout, colour: Colour) -> None:
    factor_x, factor_y = layout.factors
    matrix, offset = YuvColour(matrix=colour.name, full_range=colour.range == "pc").codes(layout.bits)
    to_codes = np.column_stack([matrix / _full_scale(image), offset]).astype(np.float32)
    at_x, at_y = _position(colour, layout)
    height, width = image.shape[:2]
    chroma_rows, chroma_columns = planes[1].shape
    step = max(1, BAND_PIXELS // width // factor_y)
    for start in range(0, chroma_rows, step):
        stop = min(start + step, chroma_rows)
        rgb = _band(image, (start - 1) * factor_y, (stop + 1) * factor_y)
        rows = slice(start * factor_y, min(stop * factor_y, height))
        inner = rgb[factor_y : factor_y + rows.stop - rows.start]
        _put(planes[0][rows], cv2.transform(inner, to_codes[:1]), layout.bits)
        flat = reduced_rows(rgb, factor_y, at_y)
        chroma = cv2.split(cv2.transform(flat, to_codes[1:]))
        right = (chroma_columns + 1) * factor_x - width
        for plane, codes in zip(planes[1:3], chroma, strict=True):
            reduced = reduced_columns(padded(codes, 0, 0, factor_x, right), factor_x, at_x)
            _put(plane[start:stop], reduced, layout.bits)


def _band(image: Image, top: int, bottom: int) -> NDArray[np.float32]:
    """float32 RGB of some rows; those beyond the image repeat its edges."""
    height = image.shape[0]
    inside = image[max(top, 0) : min(bottom, height), :, :3].astype(np.float32)
    if top >= 0 and bottom <= height:
        return inside
    return padded(inside, max(-top, 0), max(bottom - height, 0), 0, 0)


def _fill_gray(plane: Samples, image: Image, layout: Layout, colour: Colour) -> None:
    black, gain = _levels(colour.range, layout.bits)
    if image.ndim == 3:
        matrix = YuvColour(matrix=colour.name, full_range=True).codes(8)[0][:1] / 255
        image = cv2.transform(image[..., :3].astype(np.float32), matrix.astype(np.float32)) / _full_scale(image)
        _put(plane, image * gain + black, layout.bits)
    else:
        _put(plane, _affine(image, gain / _full_scale(image), black, plane.dtype), layout.bits)


def _fill_alpha(plane: Samples, image: Image, bits: int) -> None:
    opaque = 2**bits - 1
    if image.ndim == 3 and image.shape[2] == 4:
        _put(plane, _affine(np.ascontiguousarray(image[..., 3]), opaque / _full_scale(image), 0, plane.dtype), bits)
    else:
        plane[...] = opaque


def _scaled_alpha(plane: Samples, bits: int, kind: Any) -> Samples:
    """Alpha is of full range always."""
    return _affine(plane, np.iinfo(kind).max / (2**bits - 1), 0, kind)


def _put(plane: Samples, codes: NDArray[Any], bits: int) -> None:
    stored = _affine(codes, 1, 0, plane.dtype)
    np.minimum(stored, plane.dtype.type(2**bits - 1), out=plane)


def _affine(samples: Samples, gain: float, addend: float, kind: Any) -> Samples:
    """gain * samples + addend, rounded half to even and clipped into a type."""
    if gain == 1 and addend == 0 and samples.dtype == kind:
        return samples
    return cv2.addWeighted(samples, gain, samples, 0, addend, dtype=_depth(kind))


def _levels(range_: Range, bits: int) -> tuple[float, float]:
    """Code value of black, and how many there are to white."""
    unit = 2.0 ** (bits - 8)
    return (16 * unit, 219 * unit) if range_ == "tv" else (0, 2.0**bits - 1)


def _position(colour: Colour, layout: Layout) -> tuple[float, float]:
    """Column and row of the first chroma sample, in pixels, for this kind of subsampling."""
    (x, y), (factor_x, factor_y) = colour.chroma_position, layout.factors
    return x * (factor_x - 1), y * (factor_y - 1)


def _with_colours(image: Image) -> Image:
    return cv2.merge([image] * 3) if image.ndim == 2 else image


def _full_scale(image: Image) -> int:
    return int(np.iinfo(image.dtype).max)


def _depth(kind: Any) -> int:
    return cv2.CV_8U if np.dtype(kind) == np.uint8 else cv2.CV_16U
