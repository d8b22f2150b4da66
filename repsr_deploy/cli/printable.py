"""Text from outside, such as the names of files, for a terminal and for logs."""

from __future__ import annotations

import unicodedata

_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of what moves the cursor, changes colours or starts a line, and of halves of characters."""
_TURNS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Turns the direction of the text after it: exe.gpj could be seen as jpg.exe."""


def printable(text: str) -> str:
    """The text in one line, with control characters as Python writes them: `\\n`, `\\x1b`."""
    return "".join(_escaped(c) if c in _TURNS or unicodedata.category(c) in _UNSEEN else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
