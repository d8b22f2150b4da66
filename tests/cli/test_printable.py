"""Text from outside stays in its line and leaves the terminal alone."""

from __future__ import annotations

import unicodedata

from repsr_deploy.cli.printable import printable


def test_what_moves_the_cursor_is_shown() -> None:
    assert printable("a\nb\r\x1b[2J\x00\x9b") == "a\\nb\\r\\x1b[2J\\x00\\x9b"
    assert printable("exe.\u202egpj\u2028x\udc80") == "exe.\\u202egpj\\u2028x\\udc80"


def test_words_are_left_alone() -> None:
    text = "größer \U0001f600 e\u0301 日本語 \\n"
    assert printable(text) == text


def test_no_control_character_is_left() -> None:
    text = printable("".join(map(chr, range(0x11000))))
    assert not {*map(unicodedata.category, text)} & {"Cc", "Cs", "Zl", "Zp"}
    assert len(text.splitlines()) == 1
