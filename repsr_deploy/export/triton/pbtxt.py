"""Protobuf's text format, as far as model configurations use it: written and read without a schema.

Source: Text Format Language Specification (protobuf.dev).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias


class Word(str):
    """A value without quotes: a constant of an enumeration."""

    __slots__ = ()


Value: TypeAlias = "str | int | bool | Message | Sequence[str | int | bool | Message]"
Message: TypeAlias = Mapping[str, Value]
"""Field to value; a sequence stands for a repeated field."""

Fields = dict[str, list[Any]]
"""What is read: every field as a list, since only a schema knows which are not repeated."""

_TOKEN = re.compile(
    r"""(?P<skip>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][-+]?\d+)?)f?)
    |(?P<word>[A-Za-z_][\w.]*)
    |(?P<mark>[][{}<>:,;])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
DEEPEST = 32
"""Messages in messages that are read."""


def write(message: Message, indent: str = "") -> str:
    """The text of a message, a line for every field that holds no other."""
    return "".join(_field(key, value, indent) for key, value in message.items())


def read(text: str) -> Fields:
    """The fields of a message.

    Raises:
        ValueError: it is no such text.
    """
    tokens = list(_tokens(text))
    fields, end = _message(tokens, 0, None, 0)
    if end != len(tokens):
        raise ValueError(f"{tokens[end][1]!r} does not belong there")
    return fields


def _field(key: str, value: Value, indent: str) -> str:
    if isinstance(value, Mapping):
        return f"{indent}{key} {{\n{write(value, indent + '  ')}{indent}}}\n"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if any(isinstance(item, Mapping) for item in value):
            return "".join(_field(key, item, indent) for item in value)
        return f"{indent}{key}: [{', '.join(map(_scalar, value))}]\n"
    return f"{indent}{key}: {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return json.dumps(value, ensure_ascii=False)  # the same escapes, for texts without control characters
    return str(value)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError(f"line {line} has {text[position : position + 20]!r}")
        position = match.end()
        assert match.lastgroup is not None
        if match.lastgroup != "skip":
            yield match.lastgroup, match.group()


def _message(tokens: Sequence[tuple[str, str]], at: int, closing: str | None, depth: int) -> tuple[Fields, int]:
    """The fields from a token on, and the token behind their end."""
    if depth > DEEPEST:
        raise ValueError(f"there are more than {DEEPEST} messages in each other")
    fields: Fields = {}
    while at < len(tokens):
        kind, text = tokens[at]
        if text == closing:
            return fields, at + 1
        if kind != "word":
            raise ValueError(f"{text!r} stands where a field should")
        values, at = _values(tokens, at + 1, depth)
        fields.setdefault(text, []).extend(values)
        if _is(tokens, at, ",") or _is(tokens, at, ";"):
            at += 1
    if closing is not None:
        raise ValueError(f"it ends where {closing} should stand")
    return fields, at


def _values(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[list[Any], int]:
    """The value of a field, or those of a list."""
    at += _is(tokens, at, ":")
    if not _is(tokens, at, "["):
        value, at = _value(tokens, at, depth)
        return [value], at
    values: list[Any] = []
    at += 1
    while not _is(tokens, at, "]"):
        value, at = _value(tokens, at, depth)
        values.append(value)
        at += _is(tokens, at, ",")
    return values, at + 1


def _value(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[Any, int]:
    if at == len(tokens):
        raise ValueError("it ends where a value should stand")
    kind, text = tokens[at]
    match kind:
        case "mark" if text in _CLOSING:
            return _message(tokens, at + 1, _CLOSING[text], depth + 1)
        case "string":
            return _unquoted(text), at + 1
        case "number":
            return float(text.rstrip("fF")) if re.search(r"[.eEf]", text) and "x" not in text else int(text, 0), at + 1
        case "word":
            return {"true": True, "false": False}.get(text, Word(text)), at + 1
        case _:
            raise ValueError(f"{text!r} stands where a value should")


def _unquoted(text: str) -> str:
    body = text[1:-1]
    if "\\" not in body:
        return body
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), body)


def _is(tokens: Sequence[tuple[str, str]], at: int, mark: str) -> bool:
    return at < len(tokens) and tokens[at] == ("mark", mark)
