"""What a video becomes: codec, quality, pixels, decided and tried before any work is done."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from repsr_deploy.errors import UsageError, VideoFileError
from repsr_deploy.video.codecs import AUTO, EncoderChoice, choose_encoder, choose_pix_fmt
from repsr_deploy.video.containers import USUAL, format_of, held_codecs
from repsr_deploy.video.encoder import OutputVideo, open_context
from repsr_deploy.video.info import MasteringDisplay, VideoInfo
from repsr_deploy.video.options import VideoOptions

log = logging.getLogger(__name__)

H264_LARGEST = 4096
"""Longest side, in pixels, of the H.264 that decoders in hardware play: levels up to 5.2."""
NARROW = 64
"""Pixels across: with less, libx265 4.2 writes beyond its memory in one of its analyses (cutree)."""
_PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}


def plan_output(
    options: VideoOptions,
    target: Path,
    info: VideoInfo,
    size: tuple[int, int],
    sample_aspect_ratio: Fraction | None = None,
) -> OutputVideo:
    """What the video of `target` will be. The encoder is opened once, to see that it does.

    Codec `auto` is that of the input where the container usually holds it, else H.264 for 8 bits and HEVC for more;
    VP9 and AV1 in WebM. H.264 of more than 4096 pixels becomes HEVC, because decoders in hardware end there.

    Args:
        info: of the input.
        size: (width, height) of the result.
        sample_aspect_ratio: None for the input's.

    Raises:
        UsageError: an option that the encoder or the container does not take; the message has what they take.
        VideoFileError: the encoder is missing, or does not open on this machine.
    """
    choice, pix_fmt, loss = _choice(options, target, info, size)
    output = OutputVideo(
        encoder=choice.name,
        codec=choice.codec,
        options=choice.options,
        pix_fmt=pix_fmt,
        width=size[0],
        height=size[1],
        time_base=info.time_base,
        rate=info.rate,
        sample_aspect_ratio=info.sample_aspect_ratio if sample_aspect_ratio is None else sample_aspect_ratio,
        colour=info.colour.in_format(pix_fmt),
        parameters=_parameters(choice.name, info, size),
    )
    try:
        open_context(output)
    except VideoFileError:
        if not (size[0] % 2 or size[1] % 2):
            raise
        pix_fmt, loss = choose_pix_fmt(choice, source=info.pix_fmt, wanted=options.pix_fmt, size=size)
        output = replace(output, pix_fmt=pix_fmt, colour=info.colour.in_format(pix_fmt))
        open_context(output)
        log.warning("%s: %s takes odd sides (%d x %d) only as %s", target, choice.name, *size, pix_fmt)
    if loss and not options.pix_fmt:
        log.warning("%s: %s as %s loses %s of the input", target, choice.name, pix_fmt, loss)
    if (info.mastering_display or info.content_light) and choice.name not in _PARAMETERS:
        log.warning("%s: %s does not write on which screen the HDR video was graded", target, choice.name)
    return output


def _choice(
    options: VideoOptions, target: Path, info: VideoInfo, size: tuple[int, int]
) -> tuple[EncoderChoice, str, str]:
    """Encoder, pixel format, and what is lost."""
    form = format_of(target)
    name = _auto_codec(form, options, info, size) if options.codec == AUTO else options.codec
    choice = choose_encoder(name, crf=options.crf, preset=options.preset)
    if not held_codecs(form, [choice.codec]):
        raise UsageError(
            f"--codec {name}: {target.suffix} files hold no {choice.codec}; expected {', '.join(USUAL[form])}, or a "
            "name that ends in .mkv"
        )
    return choice, *choose_pix_fmt(choice, source=info.pix_fmt, wanted=options.pix_fmt, size=(0, 0))


def _auto_codec(form: str, options: VideoOptions, info: VideoInfo, size: tuple[int, int]) -> str:
    """The first of the codecs in question that loses nothing, or makes the pixel format asked for; or the first."""
    deep = info.bit_depth > 8
    order = [info.codec, "hevc" if deep else "h264", "av1" if deep else "vp9", "av1"]
    usual = [codec for codec in dict.fromkeys(order) if codec in USUAL[form]]
    if max(size) > H264_LARGEST:
        usual = ["hevc" if codec == "h264" else codec for codec in usual]

    def fits(codec: str) -> bool:
        choice = choose_encoder(codec)
        if options.pix_fmt:
            return options.pix_fmt in choice.pix_fmts
        return not choose_pix_fmt(choice, source=info.pix_fmt, wanted="", size=(0, 0))[1]

    return next(filter(fits, usual), usual[0])


def _parameters(encoder: str, info: VideoInfo, size: tuple[int, int]) -> dict[str, str]:
    """What the encoder is told in its own language: closed groups of pictures, and static HDR metadata."""
    display, light = info.mastering_display, info.content_light
    parts: list[str] = []
    if encoder == "libx265":
        # without info, which names the number of threads: segments could not be joined
        parts += ["open-gop=0", "info=0", "log-level=error"]
        if size[0] < NARROW:
            parts += ["cutree=0"]
        parts += [f"master-display={_display(display, 50000, 10000)}"] if display else []
        parts += [f"max-cll={light.max_content},{light.max_frame_average}"] if light else []
    elif encoder == "libx264":
        parts += [f"mastering-display={_display(display, 50000, 10000)}"] if display else []
        parts += [f"cll={light.max_content},{light.max_frame_average}"] if light else []
    elif encoder == "libsvtav1":
        parts += [f"mastering-display={_display(display)}"] if display else []
        parts += [f"content-light={light.max_content},{light.max_frame_average}"] if light else []
    return {_PARAMETERS[encoder]: ":".join(parts)} if parts else {}


def _display(display: MasteringDisplay, chroma_unit: int | None = None, light_unit: int | None = None) -> str:
    """As x264, x265 (whole numbers of units) and SVT-AV1 (decimals) read it; least luminance last."""

    def text(value: Fraction, unit: int | None) -> str:
        return f"{float(value):.6f}" if unit is None else str(round(value * unit))

    points = {"G": display.green, "B": display.blue, "R": display.red, "WP": display.white}
    pairs = [f"{name}({text(x, chroma_unit)},{text(y, chroma_unit)})" for name, (x, y) in points.items()]
    least, greatest = display.luminance
    return "".join(pairs) + f"L({text(greatest, light_unit)},{text(least, light_unit)})"
