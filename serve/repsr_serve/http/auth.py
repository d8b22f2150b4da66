"""Who may ask: holders of a key, where there are keys; and no page of another site on its visitor's behalf."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from repsr_deploy.errors import RepsrError
from repsr_serve.http.errors import problem_answer
from repsr_serve.problems import Problem

log = logging.getLogger(__name__)

LEAST_CHARACTERS = 16
"""Of a key: one of random hexadecimal digits then has 64 bits."""
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Answered to everybody, always: orchestrators ask there."""
READING = ("GET", "HEAD")


class Keys:
    """The keys in a file, one a line; blank lines and those that begin with # do not count.

    The file is read again when it changes, so that keys can be exchanged while the service runs. A file that cannot be
    used then leaves the keys as they were, with an error in the log: half a file must not lock everybody out.

    Raises:
        RepsrError: it cannot be read, holds no key, or one that is too short.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = self._look()
        self._digests = self._read()

    def accepts(self, presented: bytes) -> bool:
        """Whether it is one of the keys; takes as long whichever it is, and however much of it is right."""
        self._refresh()
        digest = hashlib.sha256(presented).digest()
        equal = [hmac.compare_digest(known, digest) for known in self._digests]
        return any(equal)

    def _refresh(self) -> None:
        try:
            version = self._look()
            if version != self._version:
                self._version = version
                self._digests = self._read()
                log.info("%d API keys were read again", len(self._digests))
        except RepsrError as error:
            if self._version is not None:
                self._version = None
                log.error("the API keys stay as they were: %s", error)

    def _look(self) -> tuple[int, int, int]:
        """What changes when the file does."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> list[bytes]:
        try:
            lines = enumerate(self._path.read_bytes().splitlines(), 1)
            readable_by_others = self._path.stat().st_mode & stat.S_IROTH
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        keys = {number: key for number, line in lines if (key := line.strip()) and not key.startswith(b"#")}
        if not keys:
            raise self._unusable("it holds no key; expected one a line")
        for number, key in keys.items():
            if len(key) < LEAST_CHARACTERS:
                raise self._unusable(
                    f"the key in line {number} has {len(key)} characters; expected {LEAST_CHARACTERS} or more, as "
                    "`openssl rand -hex 32` gives"
                )
        if readable_by_others:
            log.warning("every user of this machine can read the API keys in %s; `chmod o-r` it", self._path)
        return [hashlib.sha256(key).digest() for key in keys.values()]

    def _unusable(self, why: str) -> RepsrError:
        return RepsrError(f"API key file {self._path} cannot be used: {why}")


class Guard:
    """Middleware that refuses who may not ask.

    Args:
        app: what is behind it.
        keys: None where everybody may ask.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys | None) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401 or 403."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problem_answer(scope, refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers, path, reads = Headers(scope=scope), scope["path"], scope["method"] in READING
        if headers.get("sec-fetch-site") == "cross-site" and not (reads and path == "/"):
            return Problem("forbidden", "A page of another site sent this request; open the service's own page.")
        if self._keys is None or (reads and path in OPEN_PATHS):
            return None
        presented = list(presented_keys(headers))
        if not presented:
            return Problem("unauthorized", "The request has no API key; send it as `Authorization: Bearer KEY`.")
        if any([self._keys.accepts(key) for key in presented]):  # noqa: C419 - a list: all are compared, always
            return None
        return Problem("unauthorized", "The API key is not one of this service's; ask its operator for one.")


def presented_keys(headers: Headers) -> Iterator[bytes]:
    """Keys that a request shows: as a bearer token (RFC 6750), as X-API-Key, or as the password of Basic (RFC 7617)."""
    for key in headers.getlist("x-api-key"):
        yield key.encode("latin-1")
    for value in headers.getlist("authorization"):
        scheme, _, credentials = value.partition(" ")
        match scheme.lower():
            case "bearer":
                yield credentials.strip().encode("latin-1")
            case "basic":
                try:
                    decoded = base64.b64decode(credentials.strip(), validate=True)
                except (binascii.Error, ValueError):
                    continue
                yield decoded.partition(b":")[2]
            case _:
                pass
