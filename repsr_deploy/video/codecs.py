"""Encoders: which one a video gets, how each is told quality and speed, and which pixels it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import av
from av.codec.codec import PixFmtLoss, find_best_pix_fmt_of_list
from av.codec.context import OptionType

from repsr_deploy.errors import UsageError, VideoFileError

AUTO = "auto"
SOFTWARE = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
    "ffv1": "ffv1",
}
"""Codecs by the names that users give them, and their encoders. Encoders in hardware are used when they are named."""
X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
QP_TO_LAMBDA = 118
"""FFmpeg's unit of `global_quality`: FF_QP2LAMBDA."""


@dataclass(frozen=True)
class Quality:
    """How an encoder is told constant quality."""

    option: str
    """Name of the option; empty where the encoder is lossless."""
    default: float | None
    """Visually lossless; None for what the encoder does by itself."""
    limits: tuple[float, float] = (0, 0)
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else makes it constant quality, and not a bit rate."""
    unit: int = 1
    """What the encoder counts for 1."""


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """An encoder of this build of FFmpeg, with options that it is known to take."""

    name: str
    codec: str
    """FFmpeg's name of what it makes: `hevc`."""
    options: Mapping[str, str]
    pix_fmts: tuple[str, ...]
    """What it takes from memory, samples of whole numbers."""


_CRF = (0.0, 51.0)
_QSCALE = {"flags": "+qscale"}
_QUALITIES = {
    "libx264": Quality("crf", 16, _CRF),
    "libx264rgb": Quality("crf", 16, _CRF),
    "libx265": Quality("crf", 18, _CRF),
    "libsvtav1": Quality("crf", 20, (1, 63)),  # 0 means "not given" to FFmpeg's wrapper
    "libaom-av1": Quality("crf", 20, (0, 63), {"b": "0"}),
    "libvpx-vp9": Quality("crf", 20, (0, 63), {"b": "0", "row-mt": "1"}),
    "prores_ks": Quality("global_quality", None, (1, 64), _QSCALE, QP_TO_LAMBDA),
    "mpeg2video": Quality("global_quality", 2, (1, 31), _QSCALE, QP_TO_LAMBDA),
    "mpeg4": Quality("global_quality", 2, (1, 31), _QSCALE, QP_TO_LAMBDA),
    "mjpeg": Quality("global_quality", 2, (1, 31), _QSCALE, QP_TO_LAMBDA),
    "h264_nvenc": Quality("cq", 19, (1, 51), {"rc": "vbr", "b": "0"}),
    "hevc_nvenc": Quality("cq", 19, (1, 51), {"rc": "vbr", "b": "0"}),
    "av1_nvenc": Quality("cq", 24, (1, 63), {"rc": "vbr", "b": "0"}),
    "h264_qsv": Quality("global_quality", 19, (1, 51)),
    "hevc_qsv": Quality("global_quality", 19, (1, 51)),
    "av1_qsv": Quality("global_quality", 24, (1, 51)),
    "vp9_qsv": Quality("global_quality", 24, (1, 51)),
}
_LOSSLESS = Quality("", None)
_PRESETS = {"libvpx-vp9": "deadline", "libaom-av1": "cpu-used", "prores_ks": "profile"}
"""Options that say what `preset` says to other encoders."""
_ALPHA = ("prores_ks", "ffv1")
"""Encoders whose packets hold transparency like any other samples."""
_ALWAYS = {"ffv1": {"level": "3", "slicecrc": "1", "slices": "4", "g": "1"}}


def choose_encoder(name: str, *, crf: float | None = None, preset: str = "") -> EncoderChoice:
    """The encoder of a codec, or the one that is named, with its options for a quality and a preset.

    Args:
        name: a codec of `SOFTWARE` or an encoder of FFmpeg.
        crf: constant quality as the encoder counts it; None for what is visually lossless.
        preset: as the encoder names it; empty for its own.

    Raises:
        UsageError: no such encoder, or a value that it does not take.
        VideoFileError: the encoder is not in this build of FFmpeg.
    """
    encoder = SOFTWARE.get(name, name)
    try:
        codec = av.Codec(encoder, "w")
    except ValueError as error:
        kind = VideoFileError if name in SOFTWARE else UsageError
        raise kind(f"no encoder {encoder!r} in this build of FFmpeg; it has {', '.join(available())}") from error
    context: Any = av.CodecContext.create(encoder, "w")
    private = {option.name: option for option in context.supported_options.private}
    quality = _QUALITIES.get(encoder) or (_LOSSLESS if codec.lossless and not codec.lossy else None)
    if codec.type != "video" or quality is None:
        raise UsageError(f"--codec {name}: expected {AUTO}, or one of {', '.join((*SOFTWARE, *available()))}")
    return EncoderChoice(
        name=encoder,
        codec=codec.canonical_name,
        options={
            **_ALWAYS.get(encoder, {}), **_quality(encoder, quality, crf, private), **_preset(encoder, preset, private)
        },
        pix_fmts=_pix_fmts(codec),
    )  # fmt: skip


def available() -> list[str]:
    """Encoders that `--codec` may name and that this build of FFmpeg has. Those in hardware may still not open."""
    return [name for name in dict.fromkeys((*SOFTWARE.values(), *_QUALITIES)) if name in av.codecs_available]


def choose_pix_fmt(choice: EncoderChoice, *, source: str, wanted: str, size: tuple[int, int]) -> tuple[str, str]:
    """The pixel format to encode, and what it loses in words (empty for nothing).

    Without a wish it is the input's where the encoder takes it, else the nearest that keeps depth and chroma.

    Args:
        source: pixel format of the input.
        wanted: what the user asks for; empty for the nearest.
        size: (width, height) that chroma samples must divide; (0, 0) where the encoder takes any.

    Raises:
        UsageError: the encoder does not take what is wanted, or nothing at this size.
    """
    if wanted and wanted not in choice.pix_fmts:
        raise UsageError(f"--pix-fmt {wanted}: {choice.name} takes {', '.join(choice.pix_fmts)}")
    has_alpha = _has_alpha(av.VideoFormat(source))
    fitting = [name for name in choice.pix_fmts if _divides(name, size)]
    if wanted and wanted not in fitting:
        raise UsageError(
            f"--pix-fmt {wanted}: {choice.name} takes no {size[0]}x{size[1]} pixels in it; expected "
            f"{', '.join(fitting)}"
        )
    if source.startswith("gray") and source not in fitting:
        source = source.replace("gray", "yuv420p")
    fitting = [wanted] if wanted else [name for name in fitting if _is_kind_of(name, source)]
    best, loss = find_best_pix_fmt_of_list(fitting, source, has_alpha)
    if best is None:
        raise UsageError(
            f"{choice.name} takes no picture of {size[0]}x{size[1]} pixels; expected even sides, or --codec ffv1"
        )
    losses = {
        PixFmtLoss.DEPTH: "bits of every sample",
        PixFmtLoss.RESOLUTION: "resolution of colours",
        PixFmtLoss.CHROMA: "colours",
        PixFmtLoss.ALPHA: "transparency",
    }
    return best.name, " and ".join(text for flag, text in losses.items() if loss & flag)


def _quality(encoder: str, quality: Quality, crf: float | None, private: Mapping[str, Any]) -> dict[str, str]:
    value = quality.default if crf is None else crf
    if not quality.option and crf is not None:
        raise UsageError(f"--crf {crf:g}: {encoder} is lossless and takes none; leave the option out")
    if value is None:
        return {}
    low, high = quality.limits
    whole = quality.option not in private or private[quality.option].type != OptionType.FLOAT
    if not low <= value <= high or (whole and value % 1):
        kind = "whole numbers" if whole else "numbers"
        raise UsageError(f"--crf {value:g}: {encoder} takes {kind} from {low:g} to {high:g}")
    return {**quality.others, quality.option: f"{value * quality.unit:g}"}


def _preset(encoder: str, preset: str, private: Mapping[str, Any]) -> dict[str, str]:
    if not preset:
        return {}
    option = private.get(_PRESETS.get(encoder, "preset"))
    if option is None:
        raise UsageError(f"--preset {preset}: {encoder} has none; leave the option out")
    names = [choice.name for choice in option.choices] or (X26X_PRESETS if option.type.name == "STRING" else ())
    if names and preset not in names:
        raise UsageError(f"--preset {preset}: {encoder} has {', '.join(names)}")
    if not names and preset not in map(str, range(int(option.min), int(option.max) + 1)):
        raise UsageError(f"--preset {preset}: {encoder} takes numbers from {option.min:g} to {option.max:g}")
    return {option.name: preset}


def _pix_fmts(codec: Any) -> tuple[str, ...]:
    """Formats in memory, without palettes, floats, and the old names that hide the range (yuvj420p)."""
    return tuple(
        fmt.name
        for fmt in codec.video_formats or ()
        if fmt.components
        and (codec.name in _ALPHA or not _has_alpha(fmt))
        and not (fmt.has_palette or fmt.is_bit_stream or fmt.is_big_endian or fmt.is_bayer)
        and not fmt.name.startswith("yuvj")
        and not any(mark in fmt.name for mark in ("f16", "f32", "cuda", "qsv", "vaapi", "vulkan"))
    )


def _has_alpha(fmt: Any) -> bool:
    return any(component.is_alpha for component in fmt.components)


def _divides(name: str, size: tuple[int, int]) -> bool:
    fmt = av.VideoFormat(name, 64, 64)
    return size[0] % (64 // fmt.chroma_width()) == 0 and size[1] % (64 // fmt.chroma_height()) == 0


def _is_kind_of(name: str, source: str) -> bool:
    """Whether it has nothing that the input has not: no RGB for YUV, no transparency for opaque pictures."""
    fmt, input_fmt = av.VideoFormat(name), av.VideoFormat(source)
    return (input_fmt.is_rgb or not fmt.is_rgb) and (_has_alpha(input_fmt) or not _has_alpha(fmt))
