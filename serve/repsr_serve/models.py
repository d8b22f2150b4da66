"""The models that a service has: opened, named, each with its batcher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import Runtime, open_runtime
from repsr_deploy.runtimes.finished import check_range
from repsr_deploy.weights import bundled_names, find_model
from repsr_serve.batcher import Batcher, BatchObserver
from repsr_serve.metrics import Metrics
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem
from repsr_serve.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model under the name that clients know."""

    name: str
    runtime: Runtime
    """Gives pictures, whatever the io of the file."""
    batcher: Batcher

    @property
    def info(self) -> ModelInfo:
        """What the model says about itself."""
        return self.runtime.info


def served_names(models: Iterable[str]) -> dict[str, Path]:
    """The file of every model, by the name under which it is served: a bundled name, or a file's without extension.

    Raises:
        UsageError: no such model, or two of one name.
    """
    files: dict[str, Path] = {}
    for model in models:
        path = find_model(model)
        name = model if model in bundled_names() else path.stem
        if name in files:
            raise UsageError(f"two models would be served as {name!r}: {files[name]} and {path}; rename a file")
        files[name] = path
    return files


def open_models(settings: Settings, metrics: Metrics) -> dict[str, ServedModel]:
    """Open every model of the settings, in their order.

    Raises:
        UsageError, RuntimeUnavailableError, ModelFileError: see `open_runtime`; no batcher is left running.
    """
    models: dict[str, ServedModel] = {}
    try:
        for name, path in served_names(settings.model).items():
            models[name] = _open(name, path, settings, metrics)
    except BaseException:
        close_models(models)
        raise
    return models


def _open(name: str, path: Path, settings: Settings, metrics: Metrics) -> ServedModel:
    runtime = open_runtime(path, settings.runtime, threads=settings.threads, precision=settings.precision)
    check_range(runtime.info)
    batcher = Batcher(
        runtime,
        tile=settings.tile,
        batch=settings.batch,
        delay_s=settings.batch_delay_ms / 1000,
        observer=_Observer(name, metrics),
        threads=settings.threads,
    )
    return ServedModel(name=name, runtime=batcher.runtime, batcher=batcher)


def close_models(models: Mapping[str, ServedModel]) -> None:
    """Stop their batchers' threads."""
    for model in models.values():
        model.batcher.close()


def pick(models: Mapping[str, ServedModel], order: Order) -> ServedModel:
    """The model that an order means (`Order.model`).

    Raises:
        Problem: `not-found`, with the names that there are.
    """
    if order.model is not None:
        if order.model not in models:
            raise Problem(
                "not-found",
                f"There is no model {order.model[:100]!r}; expected one of {', '.join(models)}.",
                extra={"models": list(models)},
            )
        return models[order.model]
    every = list(models.values())
    if order.factor is None:
        return every[0]
    reaching = [model for model in every if model.info.scale >= order.factor]
    if reaching:
        return min(reaching, key=lambda model: model.info.scale)
    return max(every, key=lambda model: model.info.scale)


class _Observer(BatchObserver):
    """Reports batches under the served name, which the batcher does not know."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name, self._metrics = name, metrics

    def batch_done(self, model: str, tiles: int, capacity: int, pixels: int, seconds: float) -> None:
        """See `BatchObserver`."""
        self._metrics.batch_done(self._name, tiles, capacity, pixels, seconds)
