"""Which kind of answer a client wants: RFC 9110, section 12.5.1."""

from __future__ import annotations

from collections.abc import Mapping

from repsr_deploy.imaging.container import WebFormat
from repsr_serve.pictures import FORMAT_OF_MEDIA
from repsr_serve.problems import Problem
from repsr_serve.validation import shown

JSON = "application/json"
OFFERS = (*FORMAT_OF_MEDIA, JSON)
MOST_RANGES = 64
"""That are looked at; browsers send ten."""


def wanted(accept: str | None, form: WebFormat | None = None) -> tuple[bool, WebFormat | None]:
    """Whether the answer is JSON, and in which format its picture is.

    Args:
        accept: the header; None where there is none.
        form: that was asked for in another way; it is not negotiated.

    Returns:
        A format of None is the source's: the client likes all of them equally.

    Raises:
        Problem: `not-acceptable`, nothing that there is.
    """
    ranges = _ranges(accept)
    liking = {media: _quality(ranges, media) for media in OFFERS}
    images = {media: liking[media] for media in FORMAT_OF_MEDIA}
    best = max(images.values())
    if form is None and max(best, liking[JSON]) == 0:
        raise Problem("not-acceptable", f"Accept is {shown(accept)}; expected one of {', '.join(OFFERS)}.")
    if form is None and best > 0 and len(set(images.values())) > 1:
        form = next(FORMAT_OF_MEDIA[media] for media, likes in images.items() if likes == best)
    return liking[JSON] > best, form


def _quality(ranges: Mapping[str, float], media: str) -> float:
    """How much a client likes a media type, 0 (not at all) to 1: what the most specific range says."""
    major = media.partition("/")[0]
    return next((ranges[kind] for kind in (media, f"{major}/*", "*/*") if kind in ranges), 0.0)


def _ranges(accept: str | None) -> dict[str, float]:
    if accept is None or not accept.strip():
        return {"image/*": 1.0}  # whoever says nothing wants a picture
    ranges: dict[str, float] = {}
    for part in accept.split(",", MOST_RANGES)[:MOST_RANGES]:
        kind, likes = _parse(part)
        ranges[kind] = max(likes, ranges.get(kind, 0.0))
    return ranges


def _parse(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                likes = float(value)
            except ValueError:
                return kind, 0.0
            return kind, likes if 0 <= likes <= 1 else 0.0  # NaN, too
    return kind, 1.0
