"""What is asked of a picture, and what comes back: the words that HTTP, jobs, batcher and codec share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from repsr_deploy.imaging.container import WebFormat
from repsr_deploy.imaging.image_file import QUALITY
from repsr_serve.buffers import Buffer

FORMAT_OF_MEDIA: dict[str, WebFormat] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
MEDIA_OF_FORMAT: dict[WebFormat, str] = {form: media for media, form in FORMAT_OF_MEDIA.items()}

Progress = Callable[[float], None]
"""Called from any thread with the part that is done, 0 to 1, more and more."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a client wants made of a picture."""

    model: str | None = None
    """Name of a served model; None for the smallest scale that reaches the factor, else the largest; without a factor
    the first model."""
    factor: float | None = None
    """Enlargement (`scale` in HTTP); None for the model's."""
    format: WebFormat | None = None
    """Of the result; None for the source's."""
    quality: int = QUALITY
    """Of JPEG and WebP, 1 to 100."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """An enlarged picture."""

    encoded: Buffer
    """The picture's file; whoever has the result closes it."""
    format: WebFormat
    model: str
    factor: float
    source_size: tuple[int, int]
    """(width, height) as seen, after the Exif orientation."""
    size: tuple[int, int]
    """(width, height)."""
    timings_s: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds by stage, in order: `wait` (for memory and a worker), `decode`, `upscale`, `encode`, `total`."""
