"""Families of addresses, methods and parameters that nobody should send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from urllib.parse import quote

from checks.hostile.case import Case, target_case
from checks.hostile.files import honest

NUMBERS = (
    "NaN", "inf", "-inf", "1e308", "1e-999", "-1", "0", "", "two", "2,5", "0x2", "1_0", "[2]", "{}", "null", "2;3",
    "9" * 500,
)  # fmt: skip
UNSAFE = (
    "../../etc/passwd",
    "/etc/passwd",
    "photo-x2/../../x",
    "a\0b",
    "\n\rX: y",
    "m" * 4096,
    "\u202e",
    "😀",
    "' OR 1=1 --",
    "{{7*7}}",
    "%n%n",
    "",
)
PATHS = (
    "/../", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/./v1/nothing", "/v1/%00",
    "/%ff%fe", "/v1/upscale/../../../etc/passwd", "/v1/models/..%2f..%2fetc%2fpasswd", "/static/../../etc/passwd",
    "/web/%2e%2e/app.py", "/v2/models/..%2f../versions/1", "/v1/models/" + "a" * 4096, "/.git/config", "/.env",
    "/%252e%252e/", "/v1/jobs/..%2f..%2fetc%2fpasswd/result", "/app.js/../index.html%00", "/etc/passwd",
    "/\\..\\..\\", "/v1;/models;x", "//v1/models", "/v1//upscale",
)  # fmt: skip
METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "MKCOL", "A" * 60)


def parameters(random: Random) -> Case:
    """Values out of range, of other types, in other alphabets, or too many."""
    kinds: Mapping[str, str] = {
        "scale": f"scale={quote(random.choice(NUMBERS))}",
        "scale, too large": f"scale={random.choice(['8.01', '16', '1e9'])}",
        "scales": "scale=2&scale=3",
        "array": "scale[]=2",
        "quality": f"quality={quote(random.choice([*NUMBERS, '101', '1.5']))}",
        "format": f"format={quote(random.choice([*UNSAFE, 'exe', 'gif', 'PNG ', 'image/png']))}",
        "model": f"model={quote(random.choice(UNSAFE))}",
        "unknown": f"{quote(random.choice(['x', '__class__', 'image', '../x']))}=1",
    }
    value = kinds[random.choice([*kinds])]
    may_succeed = value.endswith("=")  # an empty value may be taken for none
    name = f"parameter/{value[:40]}"
    return target_case(name, f"/v1/upscale?{value}", "POST", honest()[2], may_succeed=may_succeed)


def accepted(random: Random) -> Case:
    """Answers that the service does not give."""
    wanted = random.choice(
        [
            "text/html",
            "image/gif",
            "application/pdf",
            "image/png;q=0",
            "nonsense",
            "*/*;q=0",
            "a" * 3000,
            "image/png;q=NaN",
        ]
    )
    data = honest()[2]
    head = f"POST /v1/upscale HTTP/1.1\r\nHost: a\r\nAccept: {wanted}\r\nContent-Length: {len(data)}\r\n\r\n"
    return Case(name="accept", pieces=[head.encode() + data], may_succeed=";q=NaN" in wanted or wanted == "nonsense")


def paths(random: Random) -> Case:
    """Addresses that leave the service's own."""
    return target_case("path", random.choice(PATHS), random.choice(["GET", "POST"]))


def methods(random: Random) -> Case:
    """Methods that an address does not take."""
    target = random.choice(
        ["/v1/upscale", "/v1/models", "/healthz", "/readyz", "/metrics", "/v1/jobs", "/", "/v2", "/openapi.json"]
    )
    method = random.choice(METHODS) if target != "/v1/upscale" else random.choice([*METHODS, "GET", "HEAD"])
    return target_case("method", target, method, only=frozenset({405}))


def jobs(random: Random) -> Case:
    """Jobs that nobody made."""
    name = random.choice(
        [*UNSAFE, "0", "-1", "a/b", "..", ".", "00000000-0000-0000-0000-000000000000", "f" * 32, "jobs.sqlite"]
    )
    target = f"/v1/jobs/{quote(name, safe=random.choice(['', '/']))}{random.choice(['', '/result'])}"
    method = random.choice(["GET", "DELETE", "HEAD"])
    return target_case("job", target, method, may_succeed=name in ("", ".", ".."))


FAMILIES: Mapping[Callable[[Random], Case], int] = {parameters: 12, accepted: 3, paths: 8, methods: 6, jobs: 6}
"""Each with its share of the requests."""
