"""What the service tells Prometheus. Every label has few values: none is a client's text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

NAMESPACE = "repsr_serve"
MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
"""Buckets: a stage of a thumbnail takes a millisecond, a request at most `Settings.timeout`."""
COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 64)
FILLS = tuple(part / 8 for part in range(1, 9))
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
Samples = Mapping[tuple[str, ...], float]
"""Values by labels."""
OTHER = "other"
"""Label of methods that clients make up."""


class Metrics:
    """All metrics of one service, in a registry of its own. Safe from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._make(Counter, "http_requests", "Answers by status.", ("method", "path", "status"))
        self._request_s = self._make(
            Histogram, "request_duration_seconds", "From the request's first byte to the answer's last.", ("path",),
            buckets=SECONDS,
        )  # fmt: skip
        self._stage_s = self._make(
            Histogram, "stage_seconds", "Time of one picture in a stage.", ("stage",), buckets=SECONDS
        )
        self._batch_size = self._make(Histogram, "batch_size", "Tiles of a batch.", ("model",), buckets=COUNTS)
        self._batch_fill = self._make(
            Histogram, "batch_fill_ratio", "Tiles of a batch by those it could have had.", ("model",), buckets=FILLS
        )
        self._inference_s = self._make(
            Histogram, "inference_duration_seconds", "One run of a model on a batch.", ("model",), buckets=SECONDS
        )
        self._tiles = self._make(Counter, "tiles", "Tiles that models have run on.", ("model",))
        self._pixels = self._make(Counter, "pixels", "Input pixels of those tiles.", ("model",))
        self._rejections = self._make(Counter, "rejections", "Problems that were answered.", ("cause",))
        self._deaths = self._make(Counter, "worker_deaths", "Codec workers that died.")
        self._loaded = self._make(Gauge, "model_loaded", "1 for a model that answers.", ("model",))
        started = time.monotonic()
        uptime = self._make(Gauge, "uptime_seconds", "Since the service was made.")
        uptime.set_function(lambda: time.monotonic() - started)
        self._queues: dict[tuple[str, str], Callable[[], int]] = {}
        self._watch(
            "queue_depth", "What waits, or is under way in the case of requests.", ("queue", "model"),
            lambda: {queue: depth() for queue, depth in self._queues.items()},
        )  # fmt: skip

    def _make(self, kind: Any, name: str, documentation: str, labels: tuple[str, ...] = (), **more: Any) -> Any:
        return kind(name, documentation, labels, namespace=NAMESPACE, registry=self.registry, **more)

    def request_done(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """An answer was sent, or given up.

        Args:
            path: the route's template; one constant for addresses that are none.
        """
        self._requests.labels(method if method in METHODS else OTHER, path, str(status)).inc()
        self._request_s.labels(path).observe(seconds)

    def rejected(self, cause: str) -> None:
        """A problem is answered: for the one place where that is done. `cause` is one of `problems.CAUSES`."""
        self._rejections.labels(cause).inc()

    def stage_done(self, stage: str, seconds: float) -> None:
        """A picture has passed a stage of `Result.timings_s`."""
        self._stage_s.labels(stage).observe(seconds)

    def batch_done(self, model: str, tiles: int, capacity: int, pixels: int, seconds: float) -> None:
        """A batch has run; see `batcher.BatchObserver`."""
        self._batch_size.labels(model).observe(tiles)
        self._batch_fill.labels(model).observe(tiles / capacity)
        self._inference_s.labels(model).observe(seconds)
        self._tiles.labels(model).inc(tiles)
        self._pixels.labels(model).inc(pixels)

    def worker_died(self) -> None:
        """A codec worker has died."""
        self._deaths.inc()

    def model_loaded(self, model: str, *, loaded: bool) -> None:
        """A model answers from now on, or no longer."""
        self._loaded.labels(model).set(int(loaded))

    def watch_queue(self, queue: str, depth: Callable[[], int], *, model: str = "") -> None:
        """A queue whose depth is read whenever somebody asks, from any thread."""
        self._queues[queue, model] = depth

    def watch(self, name: str, documentation: str, label: str | None, read: Callable[[], Mapping[str, float]]) -> None:
        """A gauge that is read whenever somebody asks.

        Args:
            name: without the namespace.
            label: None for a gauge of one value, of key "".
            read: the value for every value of the label; called from any thread.
        """
        labels = () if label is None else (label,)
        self._watch(
            name, documentation, labels, lambda: {(key,)[: len(labels)]: value for key, value in read().items()}
        )

    def _watch(self, name: str, documentation: str, labels: tuple[str, ...], read: Callable[[], Samples]) -> None:
        self.registry.register(_Watched(f"{NAMESPACE}_{name}", documentation, labels, read))

    def render(self) -> bytes:
        """Everything, as `MEDIA_TYPE`. May take milliseconds: not for the event loop."""
        return generate_latest(self.registry)


class _Watched(Collector):
    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], read: Callable[[], Samples]) -> None:
        self._name, self._documentation, self._labels, self._read = name, documentation, labels, read

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for values, number in self._read().items():
            family.add_metric(values, number)
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
