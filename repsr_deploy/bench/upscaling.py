"""What the upscaler costs beside the bare network, in time and in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.contestant import native_batch, run_native
from repsr_deploy.bench.timing import Timing, speedup, time_side_by_side
from repsr_deploy.bench.verify import least_db, psnr_db
from repsr_deploy.errors import ProofError, RepsrError
from repsr_deploy.imaging.upscaler import Upscaler

BARE, UPSCALER = "bare runtime", "upscaler"


@dataclass(frozen=True)
class UpscalingSpeed:
    """Times for one image of height x width pixels: the runtime on its own kind of tensor, the upscaler on uint8."""

    height: int
    width: int
    timings: dict[str, Timing]
    upscaler_over_session: float
    """Time of the upscaler over that of the bare runtime; below 1 where tiles that fit the cache win."""


def measure_upscaling(upscaler: Upscaler, image_hwc: NDArray[np.uint8], *, seconds: float) -> UpscalingSpeed:
    """Time an upscaler on a uint8 RGB image against one run of its runtime on the same pixels, outputs verified first.

    Raises:
        ProofError: the two do not give the same picture.
    """
    height, width = image_hwc.shape[:2]
    runtime = upscaler.runtime
    apart_db = psnr_db(upscaler.upscale(image_hwc), runtime.run_images(image_hwc[None])[0])
    least = least_db(runtime.precision, rounded=True)
    if not apart_db >= least:
        raise ProofError(
            f"the upscaler and the bare runtime give different pictures: {apart_db:.1f} dB, not {least:.0f} or more"
        )
    batch = native_batch(runtime.info, image_hwc[None])
    timings = time_side_by_side(
        {BARE: lambda: run_native(runtime, batch), UPSCALER: lambda: upscaler.upscale(image_hwc)}, seconds=seconds
    )
    return UpscalingSpeed(height, width, timings, speedup(timings, UPSCALER, BARE))


_MEASURED = """
import sys
from repsr_deploy.bench.machine import status_bytes
from repsr_deploy.cli.upscale import main
code = main(sys.argv[1:])
print(status_bytes("VmHWM"))
raise SystemExit(code)
"""


def peak_memory_bytes(image: Path, output: Path, model: str, options: Sequence[str] = ()) -> int:
    """Largest resident memory of `repsr-upscale image -o output -m model` in a process of its own, Linux.

    Args:
        options: more of that command.

    Raises:
        RepsrError: the command failed.
    """
    command = [sys.executable, "-c", _MEASURED, str(image), "-o", str(output), "-m", model, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RepsrError(f"repsr-upscale failed with code {done.returncode}: {done.stderr.strip()}")
    return int(done.stdout.split()[-1])
