"""What runs on the machines of a cluster: an actor that enlarges one picture at a time, as a folder here would be."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repsr_deploy.cluster.order import Answer, Failed, Opened, Prepare
from repsr_deploy.cluster.url import Url, fetched, is_there, stored
from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.batch import BatchOptions, Outcome, Workers, picture_pipeline
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.upscaler import Upscaler

MOST_DEATHS = 3
"""Workers that may die over one picture: machines go away, but a picture that always takes its worker along does not
get better."""
ONE_PICTURE = Workers(load=1, process=1, save=1)


class Ledger:
    """Which pictures workers died over: an actor that outlives them."""

    def __init__(self) -> None:
        self._under_way = Counter[int]()

    def begin(self, index: int) -> int:
        """How often this picture was begun before without an end."""
        self._under_way[index] += 1
        return self._under_way[index] - 1

    def end(self, index: int) -> None:
        """It has ended, one way or another."""
        del self._under_way[index]


class Worker:
    """Gives for rows `index`, `job` (pickled) rows `message` (pickled `Answer` or `Failed`).

    Args:
        prepare, model: see `Order`; `model` is (name, reference to the content).
        ledger: handle of the `Ledger`.
    """

    def __init__(self, prepare: Prepare, model: tuple[str, Any] | None, ledger: Any, log_level: int) -> None:
        self._prepare, self._model, self._ledger, self._log_level = prepare, model, ledger, log_level
        self._prepared: tuple[Upscaler, BatchOptions] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Enlarge what the rows name."""
        jobs = zip(batch["index"], batch["job"], strict=True)
        return {"message": [_pickled(self._answer(int(index), pickle.loads(job))) for index, job in jobs]}

    def _answer(self, index: int, job: Job) -> Answer | Failed:
        import ray

        begun: Any = self._ledger.begin.remote(index)
        deaths: Any = ray.get(begun)
        if deaths >= MOST_DEATHS:
            error = RepsrError(
                f"cannot upscale {job.source}: {deaths} workers died over it, which happens when memory runs out; "
                "upscale it alone on a larger machine, or take a smaller --tile"
            )
            return Answer(index=index, outcome=Outcome(job, error))
        with _logged(self._log_level) as records:
            try:
                upscaler, options = self._open()
                outcome = _enlarged(upscaler, options, job)
            except Exception as error:  # a model that cannot be opened, or a defect: neither is this picture's fault
                return Failed(error=error)
            finally:
                self._ledger.end.remote(index)
        runtime = upscaler.runtime
        opened = Opened(model=upscaler.info.name, runtime=runtime.name, precision=str(runtime.precision))
        return Answer(index=index, outcome=outcome, opened=opened, records=records)

    def _open(self) -> tuple[Upscaler, BatchOptions]:
        """With the first picture, so that what is wrong with a model is said as an answer."""
        if self._prepared is None:
            self._prepared = self._prepare_model()
        return self._prepared

    def _prepare_model(self) -> tuple[Upscaler, BatchOptions]:
        if self._model is None:
            return self._prepare(None)
        import ray

        name, content = self._model
        with tempfile.TemporaryDirectory(prefix="repsr-") as folder:
            file = Path(folder, name)
            file.write_bytes(ray.get(content))
            return self._prepare(file)


def _enlarged(upscaler: Upscaler, options: BatchOptions, job: Job) -> Outcome:
    """One picture's way, as in a folder on this machine; what lies elsewhere is fetched and stored."""
    if options.skip_existing and isinstance(job.target, Url) and is_there(job.target):
        return Outcome(job, skipped=True)
    options = dataclasses.replace(options, workers=ONE_PICTURE)
    with tempfile.TemporaryDirectory(prefix="repsr-") as folder:
        try:
            with fetched(job.source, Path(folder)) as source, stored(job.target) as target:
                with picture_pipeline(upscaler, [Job(source, target)], options) as pipeline:
                    (outcome,) = pipeline
                if outcome.error is not None:
                    raise _renamed(outcome.error, {source: job.source, target: job.target})
        except RepsrError as error:
            return Outcome(job, error)
    return dataclasses.replace(outcome, job=job)


def _renamed(error: RepsrError, names: dict[Path, Path]) -> RepsrError:
    """The error as it would be said of the files that the user named."""
    text = str(error)
    for local, named in names.items():
        text = text.replace(str(local), str(named))
    return type(error)(text)


@contextmanager
def _logged(level: int) -> Generator[list[tuple[str, int, str]]]:
    """What this project logs meanwhile."""
    records: list[tuple[str, int, str]] = []
    logger, handler = logging.getLogger("repsr_deploy"), _Collector(records)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _Collector(logging.Handler):
    def __init__(self, records: list[tuple[str, int, str]]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append((record.name, record.levelno, record.getMessage()))


def _pickled(message: Answer | Failed) -> bytes:
    try:
        return pickle.dumps(message)
    except Exception as error:  # what an error of another library carries may not travel
        return pickle.dumps(Failed(error=RuntimeError(f"{message!r} cannot be sent: {error!r}")))
