"""pydantic's findings as this project words them: the value, and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LONGEST = 100
"""Characters of a stranger's text that are repeated to him or in a log."""


def shown(value: object) -> str:
    """A value of unknown origin for a message: on one line, without control characters, not long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def finding(error: Mapping[str, Any]) -> str:
    """`is 'abc'; expected a valid integer`, from one of `ValidationError.errors()`."""
    message = re.sub(r", unable to .*|^Value error, ", "", str(error["msg"]))
    expected = message.removeprefix("Input should ").removeprefix("be ").removeprefix("have ")
    return f"is {shown(error['input'])}; expected {expected[:1].lower()}{expected[1:]}"
