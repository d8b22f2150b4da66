"""What a service can be told: on the command line, in the environment, or from Python; one definition for all three."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import AUTO
from repsr_deploy.weights import bundled_names

PREFIX = "REPSR_SERVE_"
"""Of environment variables: `--max-pixels` is REPSR_SERVE_MAX_PIXELS."""
MEBIBYTE = 2**20


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


Positive = Annotated[int, Ge(1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """All settings of one service.

    Raises:
        pydantic.ValidationError: a value of another type or range, or a name that is unknown; says which.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, cli_kebab_case=True, cli_prog_name="repsr-serve"
    )

    model: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_split)] = Field(
        default_factory=lambda: tuple(bundled_names()),
        min_length=1,
        description="A bundled name or a model file; may be given again. In the environment, separated by commas.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all of this machine's.")
    port: Annotated[int, Ge(0), Le(65535)] = Field(default=8000, description="Port; 0 for any that is free.")
    runtime: str = Field(default=AUTO, description="auto, or the backend that runs the models.")
    precision: Precision | None = Field(default=None, description="What the backend computes in.")
    threads: Positive | None = Field(default=None, description="Processor threads of the backend; one per core.")
    workers: Positive = Field(
        default_factory=lambda: max(3, os.cpu_count() or 1), description="Processes that decode and encode pictures."
    )
    tile: Annotated[int, Ge(64)] | None = Field(
        default=None,
        description="Side of the tiles that are batched, halo included, LR pixels; 256 on a GPU, else any.",
    )
    batch: Positive | None = Field(default=None, description="Most tiles of one batch; 8 on a GPU, else 1.")
    batch_delay_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=3.0, description="How long a batch that is not full waits for tiles of other requests."
    )
    max_bytes: Positive = Field(default=64 * MEBIBYTE, description="Largest upload, bytes.")
    max_pixels: Positive = Field(
        default=16_000_000, description="Largest picture that is answered at once, pixels; above, /v1/jobs takes it."
    )
    max_job_pixels: Positive = Field(default=100_000_000, description="Largest picture of a job, pixels.")
    max_factor: Annotated[float, Field(gt=0, le=16)] = Field(default=8.0, description="Largest enlargement.")
    queue: Positive = Field(default=64, description="Most requests under way; more are answered 503.")
    memory: Positive | None = Field(
        default=None,
        description="Bytes that pictures under way may take together; a third of the machine's memory.",
    )
    max_wait: Seconds = Field(
        default=3.0,
        description="Seconds of work, at the measured speed, behind which no more pictures are taken: 503.",
    )
    timeout: Seconds = Field(default=60.0, description="Seconds that a request may take, waiting included.")
    read_timeout: Seconds = Field(default=20.0, description="Seconds without a byte after which an upload is given up.")
    grace: Seconds = Field(default=30.0, description="Seconds that requests have to finish after SIGTERM.")
    access_log: bool = Field(default=False, description="Whether every request is a line on stderr.")
    api_key_file: Path | None = Field(
        default=None, description="File with one API key a line; without it anybody may ask."
    )
    data_dir: Path | None = Field(
        default=None, description="Folder of jobs; repsr-serve in the user's state folder (XDG_STATE_HOME)."
    )
    jobs: bool = Field(
        default=True, description="Whether /v1/jobs is there; off where several services answer under one address."
    )
    job_queue: Positive = Field(default=100, description="Most jobs that wait.")
    job_ttl: Seconds = Field(default=24 * 3600.0, description="Seconds for which a job's result is kept.")
    job_bytes: Positive = Field(
        default=20 * 2**30, description="Bytes that uploads and results of jobs may take on disk."
    )
