"""Metrics that are read off the service whenever somebody asks."""

from __future__ import annotations

import os
from functools import partial

from repsr_serve.admission import Admission
from repsr_serve.machine import resident_bytes
from repsr_serve.metrics import Metrics
from repsr_serve.pipeline import Pipeline


def watch_admission(metrics: Metrics, admission: Admission) -> None:
    """Requests under way, and their uploads."""
    metrics.watch_queue("requests", lambda: admission.entered)
    read = "Of uploads under way, their announced or largest size."
    metrics.watch("uploads_reserved_bytes", read, None, lambda: {"": admission.reserved_bytes})


def watch_pipeline(metrics: Metrics, pipeline: Pipeline) -> None:
    """Queues, models and memory of a pipeline."""
    budget, codec = pipeline.budget, pipeline.codec
    metrics.watch_queue("memory", lambda: budget.waiting)
    metrics.watch_queue("codec", lambda: codec.waiting)
    for name, model in pipeline.models.items():
        metrics.watch_queue("tiles", partial(getattr, model.batcher, "queued"), model=name)
        metrics.model_loaded(name, loaded=True)
    metrics.watch("memory_budget_bytes", "For pictures under way.", None, lambda: {"": budget.total_bytes})
    metrics.watch("memory_reserved_bytes", "Of the budget, lent.", None, lambda: {"": budget.reserved_bytes})
    metrics.watch(
        "resident_bytes", "Memory of the process and its workers.", None,
        lambda: {"": resident_bytes([os.getpid(), *codec.pids])},
    )  # fmt: skip
