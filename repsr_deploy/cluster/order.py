"""What is carried out on a cluster, and what comes back: values that travel between processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.imaging.batch import BatchOptions, Outcome
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.upscaler import Upscaler

Prepare = Callable[[Path | None], tuple[Upscaler, BatchOptions]]
"""Opens the model on a worker (from this file, where one was shipped) and says what is done to every picture."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model that workers may not have."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Order:
    """Pictures, and all that is needed to enlarge them somewhere else."""

    address: str
    """`local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`."""
    jobs: Sequence[Job]
    """Sources and targets are absolute paths that every worker sees, or `Url`s."""
    prepare: Prepare
    """Pickled by name."""
    model: ModelFile | None
    threads: int
    """Processor cores of a worker."""
    workers: int | None
    """None for as many as the cluster has room for."""
    uses_gpu: bool
    """Whether workers want one where the cluster has some."""
    log_level: int


@dataclass(frozen=True, kw_only=True)
class Connected:
    """The cluster is there."""

    workers: int


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a worker enlarges with."""

    model: str
    runtime: str
    precision: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One job has ended."""

    index: int
    """Of the job in its order."""
    outcome: Outcome
    opened: Opened | None = None
    """None where no worker lived long enough to say it."""
    records: Sequence[tuple[str, int, str]] = ()
    """What was logged meanwhile: logger, level, message."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Nothing more comes: why."""

    error: Exception


@dataclass(frozen=True)
class Finished:
    """Nothing more comes: all has been said."""


Message = Connected | Answer | Failed | Finished
