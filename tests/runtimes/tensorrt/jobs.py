"""What tests let the real TensorRT do: run in a process of its own, whose libraries are found by its environment.

python -W error jobs.py        # answers lines of JSON {"job": name, ...} with {"result": ..., "warnings": [...]}
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from repsr_deploy.errors import RepsrError
from repsr_deploy.runtimes.tensorrt import BuildOptions, Flavour, Shapes, open_tensorrt, why_unavailable
from repsr_deploy.runtimes.tensorrt.api import load
from repsr_deploy.runtimes.tensorrt.build import Built, build_engine
from repsr_deploy.runtimes.tensorrt.cache import cached_engine
from repsr_deploy.runtimes.tensorrt.model import read_model
from repsr_deploy.runtimes.tensorrt.network import parse_model


def options_of(values: dict[str, Any]) -> BuildOptions:
    """Build options with shapes as text."""
    if "shapes" in values:
        values["shapes"] = Shapes.parse(values["shapes"])
    if "timing_cache" in values:
        values["timing_cache"] = Path(values["timing_cache"])
    if "compute_capabilities" in values:
        values["compute_capabilities"] = tuple(values["compute_capabilities"])
    return BuildOptions(**values)


def build(flavour: Flavour, model: str, out: str, **options: Any) -> Any:
    """Build to a file; what was reported meanwhile."""
    reports: list[tuple[float, str]] = []
    start = time.perf_counter()
    built = build_engine(
        Path(model), Path(out), flavour=flavour, options=options_of(options),
        progress=lambda share, phase: reports.append((share, phase)),
    )  # fmt: skip
    return {**_described(built), "reports": reports, "seconds": time.perf_counter() - start}


def build_bytes(flavour: Flavour, model: str, out: str) -> Any:
    """Build from the content of a file."""
    return _described(build_engine(Path(model).read_bytes(), Path(out), flavour=flavour))


def cached(flavour: Flavour, model: str, **options: Any) -> Any:
    """Build into the cache, or find there."""
    return _described(cached_engine(Path(model), flavour=flavour, options=options_of(options)))


def tensor_types(flavour: Flavour, model: str) -> list[list[str]]:
    """Name and type of the input and the output that an engine will have."""
    api = load(flavour)
    builder = api.create_builder()
    network = parse_model(api, builder, read_model(Path(model)))
    return [[tensor.name, tensor.dtype.name] for tensor in (network.get_input(0), network.get_output(0))]


def _described(built: Built) -> Any:
    return {"path": str(built.path), "record": asdict(built.record), "reused": built.reused}


def slow(flavour: Flavour, model: str) -> Any:
    """As `cached`, taking half a second at least, and saying on stderr when it has begun."""

    def report(share: float, phase: str) -> None:
        if share == 0:
            print("begun", file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(0.5)

    return _described(cached_engine(Path(model), flavour=flavour, progress=report))


def interrupted(flavour: Flavour, model: str, out: str) -> Any:
    """A build whose process gets the signal of Ctrl-C while it runs; the share that was done then, and at the end."""
    shares: list[float] = []

    def report(share: float, phase: str) -> None:
        shares.append(share)
        if len(shares) == 5:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    try:
        build_engine(Path(model), Path(out), flavour=flavour, progress=report)
    except KeyboardInterrupt:
        return {"interrupted": True, "shares": shares}
    return {"interrupted": False, "shares": shares}


def open_engine(flavour: Flavour, model: str) -> None:
    """Open for running, which needs a GPU."""
    open_tensorrt(Path(model), flavour)


def reason(flavour: Flavour) -> str | None:
    """Why it cannot be used here."""
    return why_unavailable(flavour)


def absent(flavour: Flavour, module: str, names: list[str]) -> Any:
    """Version of a module, and those dotted names that it does not have."""
    root = importlib.import_module(module)

    def has(name: str) -> bool:
        value: Any = root
        for part in name.split("."):
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True

    return {"version": root.__version__, "absent": [name for name in names if not has(name)]}


class _Warnings(logging.Handler):
    """Keeps what users would read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def main() -> None:
    """Answer until the input ends."""
    warnings = _Warnings()
    logging.getLogger().addHandler(warnings)
    for line in sys.stdin:
        request = json.loads(line)
        warnings.texts.clear()
        try:
            answer = {"result": globals()[request.pop("job")](**request)}
        except (RepsrError, MemoryError) as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps({**answer, "warnings": warnings.texts}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
