"""repsr-serve on a Ray cluster: replicas that come and go with the load, and one that does jobs.

    serve deploy serve/deploy/ray.yaml        # on a running cluster
    serve run --app-dir serve/deploy ray_app:upscaling max_replicas=4

Every replica is the whole application of `repsr_serve.app`, with its own batcher and codec processes; Ray's proxies
spread requests over them. Jobs are kept in files, so one replica has them all; it answers /v1/jobs under the same
address, and when it is lost Ray starts it again, on the same folder, which lies where every node sees it.
"""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from repsr_serve.app import create_app
from repsr_serve.settings import Settings


class Options(BaseModel, extra="forbid"):
    """What a deployment can be told, in `args` of ray.yaml or as NAME=VALUE behind `serve run`."""

    settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Of every replica (`repsr_serve.settings`)."""
    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=4, ge=1)
    target_requests: float = Field(default=8.0, gt=0)
    """Requests under way at a replica, on average, above which Ray starts another one."""
    cpus: float = Field(default=1.0, gt=0)
    """Processor cores of a replica; its backend takes so many threads."""
    gpus: float = Field(default=0.0, ge=0)
    """Share of a GPU, so that several replicas may have one."""


def upscaling(options: Options) -> Application:
    """All but jobs, on as many replicas as the load wants."""
    scaling = AutoscalingConfig(
        min_replicas=options.min_replicas,
        max_replicas=options.max_replicas,
        target_ongoing_requests=options.target_requests,
    )
    return _deployment("upscaling", options, jobs=False, autoscaling_config=scaling)


def jobs(options: Options) -> Application:
    """Jobs, on one replica. `settings` must name a `data_dir` that outlives nodes."""
    return _deployment("jobs", options, jobs=True, num_replicas=1)


def _deployment(name: str, options: Options, *, jobs: bool, **scale: Any) -> Application:
    cores = math.ceil(options.cpus)
    settings = Settings.model_validate({"threads": cores, "workers": max(3, cores), **options.settings, "jobs": jobs})
    # Ray would queue without a bound; more than the service takes are answered by the service itself, with a reason
    deployment: Any = serve.deployment(
        serve.ingress(lambda: _mounted(create_app(settings)))(),
        name=name,
        max_ongoing_requests=2 * settings.queue,
        graceful_shutdown_timeout_s=settings.grace,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        **scale,
    )
    return deployment.bind()


def _mounted(app: FastAPI) -> ASGIApp:
    """The application as Ray wants it: started when it is ready, its paths whole where Ray mounts it at a prefix."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_when_ready(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await app.state.started
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send_when_ready)
        else:
            await app({**scope, "root_path": ""}, receive, send)

    return answer
