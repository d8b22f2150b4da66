"""How much memory a picture takes on its way, in all processes together: an upper bound, known from its header.

Peaks of resident memory were measured for 10 megapixels of noise, the worst case, with OpenCV 5.0 and its libraries, in
bytes per pixel beside what goes in:

    decode        RGB 6.2, turned 9.3, progressive CMYK 11.2, animated WebP 11.2; RGBA 8.3; gray 2.1, progressive 3.1
    encode PNG    gray 2.1, RGB 9.2, RGBA 12.2, twice that for 16 bits: swapped channels, and the file twice
    encode JPEG   gray 3.3, RGB 11.5, of 16 bits 14.5; RGBA 32 in both depths: it is put on white in float32
    encode WebP   RGB 31.2, of 16 bits 34.2; RGBA 38.1 and 42.1
"""

from __future__ import annotations

import math
from itertools import pairwise

from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.memory import bytes_per_pixel
from repsr_deploy.imaging.tiling import FAST_TILE
from repsr_deploy.model_info import ModelInfo
from repsr_serve.batcher.plan import BatchPlan
from repsr_serve.codec import Header
from repsr_serve.plan import Plan

FIXED_BYTES = 2**20
"""Of every picture, however small: its thread, its messages, its descriptors."""


def picture_bytes(plan: Plan, info: ModelInfo, batches: BatchPlan) -> int:
    """Peak over the stages of `Service.upscale`, without the file that comes in."""
    source, pixels = plan.source, plan.size[0] * plan.size[1]
    sample_bytes = source.channels * source.sample_bytes
    result = pixels * sample_bytes
    return FIXED_BYTES + max(
        decode_bytes(source),
        source.image_bytes + runs_bytes(plan) + tiles_bytes(plan, info, batches),
        source.image_bytes + resize_bytes(plan),
        result + encode_bytes(pixels, source.channels, source.sample_bytes, plan.format),
    )


def decode_bytes(header: Header) -> int:
    """A decoder's result, the result turned, and in our order of channels; or what progressive decoders hold."""
    return 4 * header.image_bytes


def runs_bytes(plan: Plan) -> int:
    """Input and output of the network, where it runs several times; the first input is the source."""
    sample_bytes = plan.source.channels * plan.source.sample_bytes
    images = [0, *plan.passes[1:], plan.network_pixels]
    return sample_bytes * max(before + after for before, after in pairwise(images))


def resize_bytes(plan: Plan) -> int:
    """`imresize` of what the network gives: before and after each of its two passes, with turned copies."""
    sample_bytes = plan.source.channels * plan.source.sample_bytes
    before, after = plan.network_pixels, plan.size[0] * plan.size[1]
    if before == after:
        return 0
    between = math.isqrt(before * after) + before // min(plan.source.width, plan.source.height)
    return 2 * sample_bytes * (before + between + after)


def tiles_bytes(plan: Plan, info: ModelInfo, batches: BatchPlan) -> int:
    """Tiles of one picture that wait, are computed or stored; of networks that cannot be cut, all they take.

    A tile is float32 before and after the network. Transparency adds about as much again on both sides, for it is a
    picture of its own, and colours spread under it. Measured at x2, bytes per pixel: RGB 31 of 60, RGBA 98 of 135.
    """
    pixels = max(plan.passes)
    if info.halo is None:
        return pixels * bytes_per_pixel(info)
    has_alpha = plan.source.channels % 2 == 0
    side = batches.tile_side or FAST_TILE + (4 if has_alpha else 2) * info.halo
    whole = pixels * (4 if batches.tile_side else 1.5)  # tiles of a picture that is hardly larger than one
    colours = 3 if info.colour == "rgb" else 1
    each = (9 if has_alpha else 4) * (colours + colours * info.scale**2)
    return math.ceil(each * min((batches.in_flight + 1) * side**2, whole))


def encode_bytes(pixels: int, channels: int, sample_bytes: int, form: WebFormat) -> int:
    """A writer's copies, what it works with, and its file."""
    has_alpha = channels == 4
    match form:
        case "png":
            swapped = sample_bytes * channels if channels > 1 else 0
            each = swapped + 2.2 * sample_bytes * channels
        case "jpeg":
            each = 44.0 if has_alpha else (1 + sample_bytes + 3.2) * channels
        case "webp":
            each = 46.0 if has_alpha else 38.0
    return math.ceil(pixels * each)
