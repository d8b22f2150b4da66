"""The Open Inference Protocol (KServe v2) over HTTP, with Triton's binary tensors: what `tritonclient.http` speaks.

Sources: KServe, "Open Inference Protocol (V2)"; Triton Inference Server, "Binary Tensor Data Extension", "Model
Configuration Extension" and "Model Repository Extension".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from repsr_serve.http.body import read_bytes, while_connected
from repsr_serve.http.errors import problem_answers
from repsr_serve.http.upscale import admitted, service_of
from repsr_serve.models import ServedModel
from repsr_serve.oip import metadata
from repsr_serve.oip.answer import Answer
from repsr_serve.oip.inference import answered
from repsr_serve.oip.metadata import VERSION
from repsr_serve.oip.request import parse_request
from repsr_serve.oip.tensors import ports_of
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem

HEADER_LENGTH = "Inference-Header-Content-Length"
_EXAMPLE = {
    "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [255, 0, 0, 0, 0, 255]}],
    "outputs": [{"name": "upscaled_pixels"}],
}
_BINARY = {"type": "string", "format": "binary"}
DOCUMENTED: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER_LENGTH,
            "in": "header",
            "required": False,
            "description": "Bytes of the JSON at the beginning of the body, where binary tensors follow it.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "An inference request with one input: IMAGE (BYTES; base64 in JSON), pixels or input.",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["inputs"]}, "example": _EXAMPLE},
            "application/octet-stream": {"schema": _BINARY},
        },
    },
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An inference response; binary tensors follow its JSON where they were asked for.",
        "headers": {HEADER_LENGTH: {"description": "Bytes of the JSON then.", "schema": {"type": "integer"}}},
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/octet-stream": {"schema": _BINARY},
        },
    },
    **problem_answers(
        "bad-request", "unauthorized", "forbidden", "not-found", "slow-upload", "too-many-bytes", "too-many-pixels",
        "unknown-format", "damaged", "parameters", "headers-too-large", "broken-model", "worker-died", "internal",
        "overloaded", "starting", "stopping", "too-late",
    ),
}  # fmt: skip
ABOUT_MODEL = problem_answers("unauthorized", "forbidden", "not-found", "parameters", "starting", "stopping")


class OipRoute(APIRoute):
    """Gives a problem the member `error`, where clients of the protocol look for the reason."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def with_error(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                extra = {"error": problem.detail, **problem.extra}
                raise Problem(problem.cause, problem.detail, problem.retry_after_s, extra) from problem

        return with_error


class InferAnswer(Response):
    """Sends an answer piece by piece, and lets go of what it holds, however far it came."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(headers=answer.headers)
        if answer.binary_bytes is None:
            del self.headers["Content-Length"]  # the constructor's, of no body
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for piece in self._answer:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._answer.close()


def served(request: Request, model: Annotated[str, Path(description="Name of a served model.")]) -> ServedModel:
    """The model of the address.

    Raises:
        Problem: `not-found`, `starting`, `stopping`.
    """
    return service_of(request).pick(Order(model=model))


def check_version(version: Annotated[str, Path(description=f"Always {VERSION}.")]) -> None:
    """Refuse versions that there are not.

    Raises:
        Problem: `not-found`.
    """
    if version != VERSION:
        raise Problem("not-found", f"The models have no version {version[:20]!r}; expected {VERSION}, or none.")


Served = Annotated[ServedModel, Depends(served)]
models = APIRouter(route_class=OipRoute)


@models.get("", summary="What a model takes and gives", responses=ABOUT_MODEL)
async def model_metadata(model: Served) -> dict[str, Any]:
    """Its tensors; a request gives exactly one of the inputs."""
    return metadata.model_metadata(model.name, model.info)


@models.get("/ready", summary="Whether a model is ready", responses=ABOUT_MODEL)
async def model_ready(model: Served) -> dict[str, Any]:
    """All models are ready once the service is."""
    return {"name": model.name, "ready": True}


@models.get("/config", summary="A model's configuration, as Triton tells it", responses=ABOUT_MODEL)
async def model_config(model: Served) -> dict[str, Any]:
    """The members of Triton's ModelConfig that hold here."""
    return metadata.model_config(model.name, model.info)


@models.post(
    "/infer",
    summary="Enlarge pictures or tensors",
    response_class=Response,
    responses=ANSWERS,
    openapi_extra=DOCUMENTED,
)
async def infer(request: Request, model: Served, _: Annotated[None, Depends(admitted)]) -> Response:
    """Encoded pictures (`IMAGE`), each for itself, with the parameters of /v1/upscale; or a batch of raw ones."""
    service = service_of(request)
    limits = service.settings
    with await read_bytes(
        request, max_bytes=limits.max_bytes, read_timeout_s=limits.read_timeout, timeout_s=limits.timeout
    ) as body:
        text = request.headers.get(HEADER_LENGTH)
        asked = await asyncio.to_thread(parse_request, memoryview(body.map()), text, ports_of(model.info))
    return InferAnswer(await while_connected(request, answered(service, model.name, asked)))


router = APIRouter(prefix="/v2", tags=["open inference protocol"], route_class=OipRoute)


@router.get("", summary="What the server is", responses=problem_answers("unauthorized", "forbidden"))
async def server_metadata() -> dict[str, Any]:
    """Name, version and the protocol's extensions."""
    return metadata.server_metadata()


@router.get("/health/live", summary="Whether the server runs")
async def live() -> dict[str, bool]:
    """As soon as it answers."""
    return {"live": True}


@router.get("/health/ready", summary="Whether all models are ready", responses=problem_answers("starting", "stopping"))
async def ready(request: Request) -> dict[str, bool]:
    """Once every model has run."""
    service_of(request).admission.check_open()
    return {"ready": True}


@router.post(
    "/repository/index", summary="The models that there are", responses=problem_answers("unauthorized", "forbidden")
)
async def repository_index(request: Request) -> list[dict[str, str]]:
    """Names and versions."""
    return metadata.repository_index(list(service_of(request).models))


router.include_router(models, prefix="/models/{model}")
router.include_router(models, prefix="/models/{model}/versions/{version}", dependencies=[Depends(check_version)])
