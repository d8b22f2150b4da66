"""`POST /v1/upscale`: a picture in, a larger one out, within one request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from repsr_serve.errands import TooLateError
from repsr_serve.faults import as_problems
from repsr_serve.http.accept import JSON, wanted
from repsr_serve.http.body import expected_bytes, picture_body_bytes, read_picture, while_connected
from repsr_serve.http.errors import problem_answers
from repsr_serve.http.order import DOCUMENTED, read_order
from repsr_serve.http.picture_answer import PictureAnswer
from repsr_serve.pictures import FORMAT_OF_MEDIA, MEDIA_OF_FORMAT
from repsr_serve.service import Service

router = APIRouter(tags=["pictures"])

_BINARY = {"type": "string", "format": "binary"}
_EXAMPLE = {
    "model": "photo-x2",
    "scale": 2.0,
    "format": "png",
    "media_type": "image/png",
    "width": 1024,
    "height": 768,
    "source": {"width": 512, "height": 384},
    "timings_ms": {"read": 0.8, "wait": 0.1, "decode": 4.2, "upscale": 21.5, "encode": 30.1, "total": 56.7},
    "image": "iVBORw0KGgo...",
}
_INTEGER, _TEXT = {"type": "integer", "minimum": 1}, {"type": "string"}
_DOCUMENT = {
    "type": "object",
    "required": list(_EXAMPLE),
    "properties": {
        "model": _TEXT,
        "scale": {"type": "number"},
        "format": {"type": "string", "enum": [*MEDIA_OF_FORMAT]},
        "media_type": {"type": "string", "enum": [*FORMAT_OF_MEDIA]},
        "width": _INTEGER,
        "height": _INTEGER,
        "source": {"type": "object", "properties": {"width": _INTEGER, "height": _INTEGER}},
        "timings_ms": {"type": "object", "additionalProperties": {"type": "number"}},
        "image": {"type": "string", "contentEncoding": "base64"},
    },
}
_HEADERS = {
    "X-Repsr-Model": "Model that made it.",
    "X-Repsr-Scale": "Enlargement.",
    "X-Repsr-Size": "Width x height of the result.",
    "Server-Timing": "Milliseconds of every stage.",
    "X-Request-Id": "Name of this request in the service's log; the client's own, where it sends one.",
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The enlarged picture.",
        "headers": {name: {"description": text, "schema": _TEXT} for name, text in _HEADERS.items()},
        "content": {
            **{media: {"schema": _BINARY} for media in FORMAT_OF_MEDIA},
            JSON: {"schema": _DOCUMENT, "example": _EXAMPLE},
        },
    },
    **problem_answers(
        "bad-request", "unauthorized", "forbidden", "not-found", "not-acceptable", "slow-upload", "too-many-bytes",
        "too-many-pixels", "unknown-format", "damaged", "parameters", "headers-too-large", "broken-model",
        "worker-died", "internal", "overloaded", "starting", "stopping", "too-late",
    ),
}  # fmt: skip


def service_of(request: Request) -> Service:
    """The service behind a request."""
    return request.app.state.service


async def admitted(request: Request) -> AsyncGenerator[None]:
    """Count the request in, from before its body is read until its answer is sent.

    Raises:
        Problem: `overloaded`, `starting`, `stopping`; `too-many-bytes` by what is announced; whatever else has a
            cause, such as memory that ends while a body is received.
    """
    service = service_of(request)
    max_bytes = picture_body_bytes(request, service.settings.max_bytes)
    async with service.admission.enter(expected_bytes(request, max_bytes)):
        with as_problems(service.admission):
            yield


@router.post(
    "/v1/upscale",
    summary="Enlarge a picture",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=DOCUMENTED,
)
async def upscale(request: Request, _: Annotated[None, Depends(admitted)]) -> Response:
    """PNG, JPEG or WebP of 8 or 16 bits, gray or colour, with or without alpha, becomes a larger picture of its kind.

    The Exif orientation is applied, the ICC profile kept. The parameters may stand in the query or in a form. The
    answer is the picture; with `Accept: application/json` a document with the picture in base64.
    """
    started_s = time.perf_counter()
    service = service_of(request)
    settings, accept = service.settings, request.headers.get("accept")
    wanted(accept, read_order(request).format)  # what is wrong without the body is said before it is read
    upload = await read_picture(
        request, max_bytes=settings.max_bytes, read_timeout_s=settings.read_timeout, timeout_s=settings.timeout
    )
    with upload.encoded:
        read_s = time.perf_counter() - started_s
        order = read_order(request, upload.fields)
        as_json, form = wanted(accept, order.format)
        work = service.upscale(upload.encoded, replace(order, format=form), max_pixels=settings.max_pixels)
        limit = asyncio.timeout(settings.timeout - read_s)
        try:
            async with limit:
                result = await while_connected(request, work)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TooLateError(settings.timeout) from error
    timings_s = {"read": read_s, **result.timings_s, "total": time.perf_counter() - started_s}
    return PictureAnswer(replace(result, timings_s=timings_s), as_json=as_json)
