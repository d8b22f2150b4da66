"""The page of a comparison: one file that needs nothing else and may load nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from repsr_deploy.compare.pictures import Difference, legend
from repsr_deploy.imaging.container import Format
from repsr_deploy.imaging.image_bytes import encode_image
from repsr_deploy.imaging.samples import Image, as_uint8

WEB = files("repsr_deploy") / "compare" / "web"
STYLES = ("viewer.css", "page.css")
SCRIPTS = ("geometry.js", "viewer.js", "page.js")
"""Modules, each behind those that it imports."""
LOSSLESS_PIXELS = 2**22
"""Largest picture that a page holds as PNG; above, it is JPEG (or WebP, for transparency)."""
EMBEDDED_QUALITY = 95


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What a page shows."""

    before_hwc: Image
    after_hwc: Image
    """Both uint8 or uint16, H x W or H x W x C."""
    difference: Difference
    size: tuple[int, ...]
    new_size: tuple[int, ...]
    """(width, height) of the whole pictures."""
    both: str
    map: str
    """Names of the pictures beside the page: before and after at one size, and what differs."""
    icc_profile: bytes | None


def page(shown: Shown, *, title: str, model: str) -> str:
    """The page as HTML.

    Its policy forbids everything from outside and every script but its own; all text is escaped.

    Args:
        title, model: any text.
    """
    height, width = shown.after_hwc.shape[:2]
    style, script = (style_text() + _legend_style()), script_text()
    form = _form(shown.after_hwc)
    facts = {
        "Original": _size(shown.size),
        "Result": _size(shown.new_size),
        "Factor": _factor(shown),
        "Model": model,
    }
    values = {
        "title": title,
        "width": width,
        "height": height,
        "part": _part(shown),
        "ground": "transparent" if _is_transparent(shown.after_hwc) else "",
        "form": "" if form == "png" else f"This page holds the pictures as {form.upper()}, quality {EMBEDDED_QUALITY}.",
        "top": shown.difference.top,
        "mean": f"{shown.difference.mean:.2f}",
        "most": shown.difference.most,
        "both": shown.both,
        "map": shown.map,
    }
    return Template(_read("page.html")).substitute(
        {name: escape(_text(str(value))) for name, value in values.items()},
        facts="".join(f"<div><dt>{name}</dt><dd>{escape(_text(value))}</dd></div>" for name, value in facts.items()),
        policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        before=_embedded(shown.before_hwc, form, shown.icc_profile),
        after=_embedded(shown.after_hwc, form, shown.icc_profile),
        difference=_embedded(shown.difference.map_hwc, _form(shown.difference.map_hwc), None),
    )


def style_text() -> str:
    """All styles of the page."""
    return "".join(map(_read, STYLES))


def script_text() -> str:
    """All modules of the page as one: a page opened from a disk cannot import its neighbours."""
    text = "".join(map(_read, SCRIPTS))
    text = re.sub(r'^import \{[^}]*\} from "\./[^"]*";\n', "", text, flags=re.MULTILINE)
    return re.sub(r"^export (?=class |const |function )", "", text, flags=re.MULTILINE)


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _legend_style() -> str:
    colours = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in legend())
    return f"#ramp {{ background: linear-gradient(to right, {colours}); }}\n"


def _source(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _form(image_hwc: Image) -> Format:
    if image_hwc.shape[0] * image_hwc.shape[1] <= LOSSLESS_PIXELS:
        return "png"
    return "webp" if _is_transparent(image_hwc) else "jpeg"


def _is_transparent(image_hwc: Image) -> bool:
    return image_hwc.ndim == 3 and image_hwc.shape[2] in (2, 4)


def _embedded(image_hwc: Image, form: Format, icc_profile: bytes | None) -> str:
    """A picture as the address of itself (RFC 2397), 8 bits a sample."""
    encoded = encode_image(as_uint8(image_hwc), form, quality=EMBEDDED_QUALITY, icc_profile=icc_profile)
    return f"data:image/{form};base64,{base64.b64encode(encoded).decode()}"


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]} × {size[1]}"  # noqa: RUF001 - the sign of multiplication


def _factor(shown: Shown) -> str:
    factors = [f"{new / old:.4g}" for old, new in zip(shown.size, shown.new_size, strict=True)]
    # a size is rounded to whole pixels: sides may seem to have grown differently
    is_one = abs(shown.size[0] * shown.new_size[1] - shown.size[1] * shown.new_size[0]) <= max(shown.size)
    return factors[0] if is_one else " × ".join(factors)  # noqa: RUF001


def _part(shown: Shown) -> str:
    height, width = shown.after_hwc.shape[:2]
    if (width, height) == shown.new_size:
        return ""
    return f"Only the middle of the result is shown: {_size((width, height))} of {_size(shown.new_size)} pixels."


def _text(text: str) -> str:
    """What can be written as UTF-8: names of files may hold other bytes."""
    return os.fsencode(text).decode(errors="replace")
