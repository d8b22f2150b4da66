"""Families of multipart bodies that are none (RFC 7578, RFC 2046)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from checks.hostile.case import Case
from checks.hostile.files import honest
from checks.wire import post

BOUNDARY = "limit"
NAMES = (
    "../../etc/passwd", "/etc/passwd", "..\\..\\windows\\win.ini", "a\0b.png", "a" * 4096, "", ".", "..", "~/x.png",
    "$(id).png", "`id`.png", "a;rm -rf.png", "<script>.png", "NUL", "con.png", "%2e%2e%2fx.png", "x.png/../../y",
    "\u202egnp.exe", "\ud83d\ude00.png".encode("utf-16", "surrogatepass").decode("utf-16"), "-rf", "|id", "{{7*7}}.png",
)  # fmt: skip
"""File names that would hurt if they named a file."""


def part(body: bytes, name: str | None = "image", filename: str | None = "x.png", more: str = "") -> bytes:
    """One part of a form."""
    words = ["form-data"] + [
        f'{key}="{value}"' for key, value in (("name", name), ("filename", filename)) if value is not None
    ]
    head = f"Content-Disposition: {'; '.join(words)}\r\n{more}\r\n"
    return f"--{BOUNDARY}\r\n{head}".encode("utf-8", "surrogatepass") + body + b"\r\n"


def form(
    name: str,
    body: bytes,
    media_type: str = f"multipart/form-data; boundary={BOUNDARY}",
    *,
    closed: bool = True,
    **about: object,
) -> Case:
    """A form sent for upscaling."""
    end = f"--{BOUNDARY}--\r\n".encode() if closed else b""
    return Case(name=f"form/{name}", pieces=[post("/v1/upscale", body + end, media_type)], **about)  # type: ignore[arg-type]


def file_names(random: Random) -> Case:
    """A whole picture whose name looks like a path: it is answered, and no such file is touched."""
    return form("file name", part(random.choice(honest()), filename=random.choice(NAMES)), may_succeed=True)


def boundaries(random: Random) -> Case:
    """Boundaries that are missing, or not those of the body."""
    body = part(random.choice(honest()))
    media = random.choice([
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other",
        f"multipart/form-data; boundary={'a' * 300}", 'multipart/form-data; boundary="',
        "multipart/form-data; boundary=\xff\xfe", "multipart/form-data; charset=utf-8",
        "multipart/mixed; boundary=limit", "multipart/form-data; boundary=limit; boundary=other",
    ])  # fmt: skip
    return form("boundary", body, media, may_succeed=media.count("boundary=") == 2)


def parts(random: Random) -> Case:
    """Parts that are none, too many, or not those that are expected."""
    good = honest()[2]
    kinds: Mapping[str, Callable[[], bytes]] = {
        "no image": lambda: part(b"2", "scale", None),
        "two images": lambda: part(good) + part(good),
        "image as text": lambda: part(b"../../etc/passwd", filename=None),
        "unknown field": lambda: part(good) + part(b"1", "../../x", None),
        "a thousand fields": lambda: b"".join(part(b"a", f"f{index}", None) for index in range(1000)),
        "a thousand files": lambda: b"".join(part(b"a", f"f{index}") for index in range(1000)),
        "large field": lambda: part(b"1" * 2**20, "scale", None) + part(good),
        "no name": lambda: part(good, name=None),
        "endless header": lambda: part(good, more="X: " + "a" * 10**6 + "\r\n"),
        "endless headers": lambda: part(good, more="X: a\r\n" * 100_000),
        "no colon": lambda: part(good, more="nothing\r\n"),
        "no head": lambda: f"--{BOUNDARY}\r\n\r\n".encode() + good + b"\r\n",
        "nested": lambda: part(part(good), more="Content-Type: multipart/form-data; boundary=limit\r\n"),
        "noise": lambda: random.randbytes(2000),
        "nothing": lambda: b"",
        "null bytes": lambda: part(good, name="image\0"),
    }
    name = random.choice([*kinds])
    return form(name, kinds[name]())


def cut_off(random: Random) -> Case:
    """A form that ends early, its length right."""
    body = part(b"2", "scale", None) + part(honest()[2])
    return form("cut off", body[: random.randrange(len(body))], closed=False)


FAMILIES: Mapping[Callable[[Random], Case], int] = {file_names: 6, boundaries: 5, parts: 10, cut_off: 5}
"""Each with its share of the requests."""
