"""What a service says about itself: models, health, readiness, metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from repsr_deploy.model_info import ModelIo, Precision
from repsr_deploy.nets.spec import Colour
from repsr_serve.http.errors import problem_answers
from repsr_serve.metrics import MEDIA_TYPE
from repsr_serve.models import ServedModel
from repsr_serve.pictures import MEDIA_OF_FORMAT
from repsr_serve.service import Service

router = APIRouter(tags=["status"])

METRICS_EXAMPLE = 'repsr_serve_tiles_total{model="photo-x2"} 1284.0'
NOT_CACHED = {"Cache-Control": "no-store"}


class ModelLimits(BaseModel):
    """Shapes that a runtime takes by itself; larger pictures are cut into tiles within them."""

    count: tuple[int, int] = Field(description="Fewest and most tiles of a batch.")
    height: tuple[int, int] = Field(description="Of a tile, pixels.")
    width: tuple[int, int] = Field(description="Of a tile, pixels.")


class Model(BaseModel):
    """One served model."""

    name: str = Field(description="As in `model` of requests.", examples=["photo-x2"])
    network: str = Field(description="In the papers' naming.", examples=["Plain-M4C16"])
    scale: int = Field(description="Enlargement of one run.", examples=[2])
    halo: int | None = Field(description="How far the network looks, pixels; null for everywhere.", examples=[6])
    colour: Colour = Field(description="`rgb`, or `y` for luma alone.", examples=["rgb"])
    precision: Precision = Field(description="What it computes in here.", examples=["fp32"])
    runtime: str = Field(description="Backend that runs it.", examples=["onnxruntime"])
    io: ModelIo = Field(description="`image` takes 8 bits only; `float` any depth.", examples=["float"])
    limits: ModelLimits | None = Field(description="null for any shape.", examples=[None])
    licence: str = Field(description="Of the photographs that trained it, empty when unknown.", examples=["CC0-1.0"])


class Requests(BaseModel):
    """What a request may ask for."""

    max_bytes: int = Field(description="Of an upload.", examples=[67108864])
    max_pixels: int = Field(description="Of a picture that is answered at once.", examples=[16000000])
    max_job_pixels: int = Field(description="Of a picture of a job.", examples=[100000000])
    max_factor: float = Field(description="Largest enlargement.", examples=[8.0])
    formats: list[str] = Field(description="Of sources and results.", examples=[["png", "jpeg", "webp"]])


class Models(BaseModel):
    """All that is served; the first model answers requests that name neither model nor scale."""

    models: list[Model]
    limits: Requests


class Health(BaseModel):
    """An answer is all there is to say."""

    status: Literal["ok"] = "ok"


@router.get("/v1/models", summary="What is served", responses=problem_answers("unauthorized", "starting", "stopping"))
async def models(request: Request) -> Models:
    """Models, and what a request may ask for."""
    service = _service(request)
    if not service.models:
        service.admission.check_open()
    settings = service.settings
    limits = Requests(
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        max_job_pixels=settings.max_job_pixels,
        max_factor=settings.max_factor,
        formats=list(MEDIA_OF_FORMAT),
    )
    return Models(models=[_described(model) for model in service.models.values()], limits=limits)


@router.get("/healthz", summary="Whether the process lives")
async def healthz(response: Response) -> Health:
    """Answers as long as the event loop runs; when it does not, restart the service."""
    response.headers.update(NOT_CACHED)
    return Health()


@router.get("/readyz", summary="Whether requests are taken", responses=problem_answers("starting", "stopping"))
async def readyz(request: Request, response: Response) -> Health:
    """Answers 503 until a picture has gone all the way through every model, and again from SIGTERM on."""
    _service(request).admission.check_open()
    response.headers.update(NOT_CACHED)
    return Health()


@router.get(
    "/metrics",
    summary="For Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": METRICS_EXAMPLE}}}, **problem_answers("unauthorized")},
)
def metrics(request: Request) -> Response:
    """In Prometheus' text format. (Not a coroutine: it runs beside the event loop.)"""
    return Response(_service(request).metrics.render(), headers=NOT_CACHED, media_type=MEDIA_TYPE)


def _service(request: Request) -> Service:
    return request.app.state.service


def _described(model: ServedModel) -> Model:
    info, limits = model.info, model.runtime.limits
    return Model(
        name=model.name,
        network=info.name,
        scale=info.scale,
        halo=info.halo,
        colour=info.colour,
        precision=model.runtime.precision,
        runtime=model.runtime.name,
        io=info.io,
        limits=limits and ModelLimits(count=limits.count, height=limits.height, width=limits.width),
        licence=info.data_licence,
    )
