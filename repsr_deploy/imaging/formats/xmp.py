"""XMP packets that describe another picture than the one they come from. Source: XMP specification, part 2 (Adobe)."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_BASIC, _NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
_MOST_PREFIXES = 4  # each takes a walk over the packet


def renewed(xmp: bytes, width: int, height: int) -> bytes | None:
    """The packet of a picture as one of an upright picture of another size; None for a packet that makes no sense.

    The orientation becomes 1 and sizes that are given become the new ones, as attributes and as elements; thumbnails
    and references to JPEG's further segments are left out. Everything else stays as it is.
    """
    try:
        text = xmp.strip(b"\0").decode()
        if "<!DOCTYPE" in text:
            return None
        ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError):
        return None
    for space, name, number in (
        (_TIFF, "Orientation", 1), (_TIFF, "ImageWidth", width), (_TIFF, "ImageLength", height),
        (_EXIF, "PixelXDimension", width), (_EXIF, "PixelYDimension", height),
    ):  # fmt: skip
        for prefix in _prefixes(text, space):
            tag = re.escape(f"{prefix}:{name}")
            text = re.sub(rf"""(\s{tag}\s*=\s*)(?:"[^"]*"|'[^']*')""", rf'\g<1>"{number}"', text)
            text = re.sub(rf"(<{tag}(?:\s[^<>]*)?>)[^<]*(</{tag}\s*>)", rf"\g<1>{number}\g<2>", text)
    for prefix in _prefixes(text, _BASIC):
        tag = re.escape(f"{prefix}:Thumbnails")
        text = re.sub(rf"<{tag}(?:\s[^<>]*)?>.*?</{tag}\s*>", "", text, flags=re.DOTALL)
    for prefix in _prefixes(text, _NOTE):
        tag = re.escape(f"{prefix}:HasExtendedXMP")
        text = re.sub(rf"""\s{tag}\s*=\s*(?:"[^"]*"|'[^']*')|<{tag}>[^<]*</{tag}\s*>""", "", text)
    return text.encode()


def _prefixes(text: str, space: str) -> list[str]:
    """What a namespace is called in a text."""
    return sorted(set(re.findall(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(space)}["']""", text)))[:_MOST_PREFIXES]
