"""What the upscaler costs beside the bare network, in time and in memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side
from repsr_deploy.errors import ProofError, RepsrError
from repsr_deploy.imaging.upscaler import Upscaler


@dataclass(frozen=True)
class UpscalingSpeed:
    """Times for one image of height x width pixels: the session on a float tensor, the upscaler from uint8 to uint8."""

    height: int
    width: int
    timings: dict[str, Timing]
    upscaler_over_session: float
    """Time of the upscaler over that of the bare session; below 1 where tiles that fit the cache win."""


def measure_upscaling(model: Path, image_hwc: NDArray[np.uint8], *, threads: int, seconds: float) -> UpscalingSpeed:
    """Time `Upscaler` on a uint8 RGB image against one run of ONNX Runtime on the same pixels, outputs verified first.

    Raises:
        ProofError: the two do not give the same picture.
    """
    height, width = image_hwc.shape[:2]
    x_nchw = np.ascontiguousarray(image_hwc.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    upscaler = Upscaler(model, threads=threads)
    session = upscaler.runtime
    direct = session.run(x_nchw)[0].transpose(1, 2, 0)
    if not np.array_equal(upscaler.upscale(image_hwc), np.rint(direct * np.float32(255)).astype(np.uint8)):
        raise ProofError("the upscaler and the bare session give different pictures")
    timings = time_side_by_side(
        {"bare session": lambda: session.run(x_nchw), "Upscaler": lambda: upscaler.upscale(image_hwc)},
        seconds=seconds,
    )
    return UpscalingSpeed(height, width, timings, speedup(timings, "Upscaler", "bare session"))


# VmHWM, because the ru_maxrss of a process begins with the memory of the one that started it
_MEASURED = """
import sys
from repsr_deploy.cli.upscale import main
code = main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
raise SystemExit(code)
"""


def peak_memory_bytes(image: Path, output: Path, model: str) -> int:
    """Largest resident memory of `repsr-upscale image -o output -m model` in a process of its own, Linux.

    Raises:
        RepsrError: the command failed.
    """
    command = [sys.executable, "-c", _MEASURED, str(image), "-o", str(output), "-m", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RepsrError(f"repsr-upscale failed with code {done.returncode}: {done.stderr.strip()}")
    return int(done.stdout.split()[-1]) * 1024
