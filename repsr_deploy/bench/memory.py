"""What a contestant takes in memory, tried in a process of its own: if that one dies, it is a row and no crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from repsr_deploy.bench.contestant import Contestant, native_batch, run_native
from repsr_deploy.bench.machine import status_bytes
from repsr_deploy.errors import RepsrError

RUNS = 2
"""Runtimes plan their memory in the first run."""


@dataclass(frozen=True)
class Trial:
    """How a contestant fared alone."""

    resident_bytes: int | None = None
    """Growth of resident memory from before the runtime was loaded to the peak; None where the system does not say."""
    failure: str = ""


def try_alone(contestant: Contestant, count: int, height: int, width: int, threads: int) -> Trial:
    """Run a contestant on `count` images of height x width LR pixels in a fresh process."""
    request = {"contestant": contestant.to_dict(), "shape": [count, height, width], "threads": threads}
    command = [sys.executable, "-m", "repsr_deploy.bench.memory"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Trial(**json.loads(done.stdout.splitlines()[-1]))
    return Trial(failure=how_it_ended(done.returncode, done.stderr))


def how_it_ended(code: int, stderr: str) -> str:
    """What to say of a process that failed."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (", as Linux does when memory is short" * (name == "SIGKILL"))
    return f"its process failed: {(stderr.strip().splitlines() or ['without a word'])[-1]}"


def _tried(request: Mapping[str, Any]) -> Trial:
    contestant = Contestant.from_dict(request["contestant"])
    count, height, width = request["shape"]
    try:
        images_nhwc = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
        before = status_bytes("VmRSS")
        runtime = contestant.open(request["threads"])
        batch = native_batch(runtime.info, images_nhwc[..., : 3 if runtime.info.colour == "rgb" else 1])
        for _ in range(RUNS):
            run_native(runtime, batch)
    except RepsrError as error:
        return Trial(failure=str(error))
    except MemoryError as error:
        return Trial(failure=f"not enough memory: {error}")
    peak = status_bytes("VmHWM")
    return Trial(None if before is None or peak is None else peak - before)


if __name__ == "__main__":
    print(json.dumps(asdict(_tried(json.load(sys.stdin)))))  # noqa: T201
