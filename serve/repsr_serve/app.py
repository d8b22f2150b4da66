"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from repsr_deploy._version import __version__
from repsr_serve.http import errors, jobs, oip, page, status, upscale
from repsr_serve.http.access import Access
from repsr_serve.http.auth import OPEN_PATHS, Guard, Keys
from repsr_serve.jobs import JobService
from repsr_serve.service import Service
from repsr_serve.settings import Settings

DESCRIPTION = """Enlarges pictures with super-resolution models, tiles of many requests in one batch.

    curl --data-binary @photo.jpg http://localhost:8000/v1/upscale -o large.jpg

Every refusal is a problem document (RFC 9457), whose `type` ends in one of a fixed list of causes."""
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The key is the password."},
}


def create_app(settings: Settings) -> FastAPI:
    """The application of one service. Its lifespan starts the service beside it, and stops it.

    `app.state.service` is the service, `app.state.jobs` its jobs, if it has any; `app.state.started` a task that ends
    when both are ready, or fails as their start does. Until then health is answered, and requests are refused as
    `starting`.

    Raises:
        RepsrError: settings that cannot work together, a key file that cannot be used.
    """
    keys = None if settings.api_key_file is None else Keys(settings.api_key_file)
    service = Service(settings)
    app = FastAPI(
        title="repsr-serve",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        middleware=[Middleware(Access, metrics=service.metrics), Middleware(Guard, keys=keys)],
    )
    app.state.service = service
    errors.install(app)
    app.state.jobs = JobService(settings, service) if settings.jobs else None
    for part in (upscale, status, oip, page, *([jobs] if settings.jobs else [])):
        app.include_router(part.router)
    app.openapi = lambda: _openapi(app, secured=keys is not None)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    service: Service = app.state.service
    jobs: JobService | None = app.state.jobs

    async def start() -> None:
        if jobs is not None:
            await jobs.open()
        await service.start()
        if jobs is not None:
            jobs.begin()

    started = app.state.started = asyncio.create_task(start())
    try:
        yield
    finally:
        started.cancel()
        await asyncio.gather(started, return_exceptions=True)  # whoever waits for it sees why it failed
        if jobs is not None:
            await jobs.stop()
        await service.stop()


def _openapi(app: FastAPI, *, secured: bool) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components: dict[str, Any] = schema.setdefault("components", {})
        errors.document(schema)
        if secured:
            components["securitySchemes"] = SECURITY_SCHEMES
            schema["security"] = [{name: []} for name in SECURITY_SCHEMES]
            for path in OPEN_PATHS & schema["paths"].keys():
                for operation in schema["paths"][path].values():
                    operation["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema
