"""What a contestant takes in memory beyond the picture and the result, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from repsr_deploy.bench.cpu.contestants import Contestant
from repsr_deploy.bench.cpu.pipelines import open_pipeline
from repsr_deploy.bench.machine import status_bytes
from repsr_deploy.bench.memory import how_it_ended
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import RepsrError

RUNS = 2
"""Runtimes plan their memory in the first run."""


def memory_row(model: str, contestant: Contestant, way: str, height: int, width: int, *, scale: int) -> Row:
    """A row of a fresh process that enlarges one picture of height x width LR pixels; its times are not in turns."""
    key = {"model": model, "input": f"{width}x{height}", **contestant.key, "way": f"{way}, alone"}
    request = {"contestant": contestant.to_dict(), "way": way, "shape": [height, width, scale]}
    command = [sys.executable, "-m", "repsr_deploy.bench.cpu.memory"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Row(key=key, failure=how_it_ended(done.returncode, done.stderr))
    said = json.loads(done.stdout.splitlines()[-1])
    if said["failure"]:
        return Row(key=key, failure=said["failure"])
    return Row(key=key, timing=Timing(tuple(said["times_s"])), figures={"beyond_bytes": said["beyond_bytes"]})


def _tried(request: Mapping[str, Any]) -> dict[str, Any]:
    """Times, and the growth of resident memory from before the runtime was loaded to its peak."""
    contestant = Contestant.from_dict(request["contestant"])
    height, width, scale = request["shape"]
    try:
        image_hwc = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        out_hwc = np.ones((height * scale, width * scale, 3), np.uint8)  # written, so that it is resident
        before = status_bytes("VmRSS")
        pipeline = open_pipeline(contestant, request["way"], height, width)
        times_s: list[float] = []
        for _ in range(RUNS):
            start = time.perf_counter()
            pipeline(image_hwc, out_hwc)
            times_s.append(time.perf_counter() - start)
    except RepsrError as error:
        return {"failure": str(error)}
    except MemoryError as error:
        return {"failure": f"not enough memory: {error}"}
    peak = status_bytes("VmHWM")
    beyond = None if before is None or peak is None else peak - before
    return {"failure": "", "times_s": times_s, "beyond_bytes": beyond}


if __name__ == "__main__":
    print(json.dumps(_tried(json.load(sys.stdin))))  # noqa: T201
