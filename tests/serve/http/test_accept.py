"""Which answer a client gets for what it says it accepts."""

from __future__ import annotations

import time

import pytest

from repsr_deploy.imaging.container import WebFormat
from repsr_serve.http.accept import wanted
from repsr_serve.problems import Problem


@pytest.mark.parametrize(
    ("accept", "form", "expected"),
    [
        (None, None, (False, None)),
        ("", None, (False, None)),
        ("*/*", None, (False, None)),
        ("image/*", None, (False, None)),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", None, (False, None)),  # Chromium
        ("image/png", None, (False, "png")),
        ("IMAGE/JPEG ; Q=0.3", None, (False, "jpeg")),
        ("image/webp;q=0.9, image/png;q=0.8, */*;q=0.1", None, (False, "webp")),
        ("image/*;q=0.5, image/jpeg", None, (False, "jpeg")),
        ("image/png;q=0, image/*", None, (False, "jpeg")),
        ("application/json", None, (True, None)),
        ("application/*", None, (True, None)),
        ("application/json, image/png;q=0.9", None, (True, "png")),
        ("application/json;q=0.9, image/png", None, (False, "png")),
        ("application/json, */*", None, (False, None)),
        ("image/jpeg", "png", (False, "png")),  # what is asked for by name is not negotiated
        ("text/html", "png", (False, "png")),
        ("application/json", "webp", (True, "webp")),
        (None, "jpeg", (False, "jpeg")),
    ],
)
def test_the_answer_is_what_the_client_likes_most(
    accept: str | None, form: WebFormat | None, expected: tuple[bool, WebFormat | None]
) -> None:
    assert wanted(accept, form) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/gif", "*/*;q=0", "image/png;q=nan", "image/png;q=2", ";;,,;q=", "image"]
)
def test_nothing_acceptable_is_said(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        wanted(accept)
    assert caught.value.cause == "not-acceptable"
    assert "application/json" in caught.value.detail


def test_a_long_header_takes_no_time() -> None:
    started = time.perf_counter()
    assert wanted("image/png;q=0.5" + ",a/b;q=0.1" * 3000) == (False, "png")
    assert time.perf_counter() - started < 0.01
