"""`/v1/jobs`: pictures that take longer than a request may. There is no list of jobs: who knows an id may use it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from repsr_deploy.imaging.container import WebFormat
from repsr_serve.http.body import read_picture
from repsr_serve.http.errors import problem_answers
from repsr_serve.http.order import DOCUMENTED, read_order
from repsr_serve.http.upscale import admitted, service_of
from repsr_serve.jobs.download import Download
from repsr_serve.jobs.job import FINISHED
from repsr_serve.jobs.service import LONGEST_WAIT_S, JobService, View
from repsr_serve.pictures import FORMAT_OF_MEDIA, MEDIA_OF_FORMAT

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

POLL_S = 1
"""When a job that is not finished is worth looking at again."""
_EXTENSIONS: dict[WebFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}


class Size(BaseModel):
    """Pixels."""

    width: int
    height: int


class JobDocument(BaseModel):
    """What is known of a job."""

    id: str = Field(description="Whoever knows it may see and delete the job.")
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: float = Field(description="The part that is done, 0 to 1.")
    position: int | None = Field(description="While it waits: 1 for the job that is next.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(description="When a finished job and its result are deleted.")
    model: str
    scale: float
    format: WebFormat
    source: Size
    width: int = Field(description="Of the result.")
    height: int
    result: str | None = Field(description="Address of the picture, when it is done.")
    bytes: int | None = Field(description="Length of the picture, when it is done.")
    error: dict[str, Any] | None = Field(description="Why it failed: a problem document.")


_EXAMPLE = {
    "id": "5f0c6f0e8d8b4b6f9f0e2a3b4c5d6e7f",
    "state": "running",
    "progress": 0.42,
    "position": None,
    "created": "2026-01-31T12:00:00.000000Z",
    "started": "2026-01-31T12:00:00.125000Z",
    "finished": None,
    "expires": None,
    "model": "photo-x2",
    "scale": 2.0,
    "format": "png",
    "source": {"width": 8192, "height": 6144},
    "width": 16384,
    "height": 12288,
    "result": None,
    "bytes": None,
    "error": None,
}
_HEADERS = {
    "Location": {"description": "Of the job.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which to look again.", "schema": {"type": "integer"}},
}
_DOCUMENT = {"content": {"application/json": {"example": _EXAMPLE}}}
_BINARY = {"type": "string", "format": "binary"}
_COMMON = ("unauthorized", "forbidden", "headers-too-large", "internal", "starting", "stopping")

JobId = Annotated[str, Path(description="As the answer to `POST /v1/jobs` says.", examples=[_EXAMPLE["id"]])]


def jobs_of(request: Request) -> JobService:
    """The jobs behind a request."""
    return request.app.state.jobs


@router.post(
    "",
    summary="Enlarge a picture later",
    status_code=202,
    response_model=JobDocument,
    responses={
        202: {"description": "It will be done.", "headers": _HEADERS, **_DOCUMENT},
        **problem_answers(
            "bad-request", "not-found", "slow-upload", "too-many-bytes", "too-many-pixels", "unknown-format", "damaged",
            "parameters", "worker-died", "overloaded", "no-space", *_COMMON,
        ),
    },
    openapi_extra=DOCUMENTED,
)  # fmt: skip
async def submit(request: Request, _: Annotated[None, Depends(admitted)]) -> Response:
    """Takes what `POST /v1/upscale` takes, and larger pictures.

    The answer says where to look. A job survives the client, and a restart of the service; its result is kept for a
    while. Pictures up to one megapixel do not wait behind larger ones.
    """
    settings = service_of(request).settings
    read_order(request)  # what is wrong without the body is said before it is read
    upload = await read_picture(
        request, max_bytes=settings.max_bytes, read_timeout_s=settings.read_timeout, timeout_s=settings.timeout
    )
    with upload.encoded as encoded:
        job = await jobs_of(request).submit(encoded, read_order(request, upload.fields))
    answer = _answer(request, await jobs_of(request).view(job.id), status=202)
    answer.headers["Location"] = _address(request, job.id)
    return answer


@router.get(
    "/{job_id}",
    summary="How far a job is",
    response_model=JobDocument,
    responses={
        200: {"description": "What is known of it.", **_DOCUMENT},
        **problem_answers("not-found", "gone", "parameters", *_COMMON),
    },
)
async def look(
    request: Request,
    job_id: JobId,
    wait: Annotated[
        float,
        Query(
            ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False,
            description="Seconds to wait for a change of a job that is not finished.",
        ),
    ] = 0.0,
) -> Response:  # fmt: skip
    """With `wait`, answers as soon as state, progress or position change, or when the time is over.

    A deleted or expired job is `gone` for a day, then `not-found`.
    """
    return _answer(request, await jobs_of(request).view(job_id, wait))


@router.get(
    "/{job_id}/result",
    summary="The picture that a job made",
    response_class=Response,
    responses={
        200: {
            "description": "The enlarged picture.",
            "content": {media: {"schema": _BINARY} for media in FORMAT_OF_MEDIA},
        },
        206: {"description": "The range of it that was asked for."},
        **problem_answers("not-found", "gone", "not-finished", "job-failed", "range", *_COMMON),
    },
)
async def result(request: Request, job_id: JobId) -> Response:
    """May be asked for again until the job expires or is deleted, also in parts (Range)."""
    job, content = await jobs_of(request).open_result(job_id)
    return Download(
        content,
        media_type=MEDIA_OF_FORMAT[job.format],
        name=f"upscaled-{job.id[:8]}.{_EXTENSIONS[job.format]}",
        etag=f'"{job.id}"',
        wanted=request.headers.get("range"),
        if_range=request.headers.get("if-range"),
    )


@router.delete(
    "/{job_id}",
    summary="Cancel or delete a job",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "It is cancelled or deleted."}, **problem_answers("not-found", "gone", *_COMMON)},
)
async def delete(request: Request, job_id: JobId) -> Response:
    """Stops the work on a job that is not finished, at once; deletes one that is, with its result."""
    await jobs_of(request).remove(job_id)
    return Response(status_code=204)


def _answer(request: Request, view: View, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    if view.job.state not in FINISHED:
        headers["Retry-After"] = str(POLL_S)
    text = _document(request, view).model_dump_json()
    return Response(text, status, headers, media_type="application/json")


def _document(request: Request, view: View) -> JobDocument:
    job, done = view.job, view.job.state == "done"
    return JobDocument.model_validate(
        {
            "id": job.id,
            "state": job.state,
            "progress": round(view.progress, 4),
            "position": view.position,
            "created": _time(job.created),
            "started": _time(job.started),
            "finished": _time(job.finished),
            "expires": _time(job.expires),
            "model": job.model,
            "scale": job.factor,
            "format": job.format,
            "source": {"width": job.source_width, "height": job.source_height},
            "width": job.width,
            "height": job.height,
            "result": f"{_address(request, job.id)}/result" if done else None,
            "bytes": job.held_bytes if done else None,
            "error": None if job.error is None else json.loads(job.error),
        }
    )


def _time(seconds: float | None) -> datetime | None:
    """RFC 3339, when it is written as JSON."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _address(request: Request, job_id: str) -> str:
    return f"{request.scope.get('root_path', '')}{router.prefix}/{job_id}"
