"""The web page at `/`: a fixed table of files inside the packages, under a policy that lets it load nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from repsr_serve.problems import Problem

MEDIA_OF_ENDING = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked for again: an upgraded server never meets an old page
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str
    """Quoted, as HTTP writes it (RFC 9110, 8.8.3)."""


def _read(name: str, folder: Traversable) -> Asset:
    content = (folder / name).read_bytes()
    return Asset(content, MEDIA_OF_ENDING[name.rpartition(".")[2]], f'"{sha256(content).hexdigest()[:32]}"')


OWN, SHARED = files("repsr_serve") / "web", files("repsr_deploy") / "compare" / "web"
PAGE = _read("index.html", OWN)
ASSETS = {
    name: _read(name, folder)
    for folder, names in (
        (OWN, ("app.js", "api.js", "settings.js", "theme.js", "words.js", "style.css", "favicon.svg")),
        (SHARED, ("geometry.js", "viewer.js", "viewer.css")),
    )
    for name in names
}


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page itself."""
    return _answer(request, PAGE)


@router.api_route("/assets/{name}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """One of its files.

    Raises:
        Problem: it has none of that name.
    """
    if name not in ASSETS:
        raise Problem("not-found", f"The page has no such file; expected one of {', '.join(ASSETS)}.")
    return _answer(request, ASSETS[name])


def _answer(request: Request, found: Asset) -> Response:
    headers = {**HEADERS, "ETag": found.etag}
    known = (tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(","))
    if any(tag in (found.etag, "*") for tag in known):
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
