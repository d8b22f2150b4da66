"""Make what tests compile or fetch and keep: the simulated GPU and its kernels, the kernels of processors.

    python -m scripts.prepare_tests

scripts/test runs it beside the static checks and the first tests, on another core. A test that needs what is not there
yet waits for it or makes it itself, and says what is wrong; here nothing is said.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from repsr_kernels import cpu
from repsr_kernels.errors import RepsrError
from scripts.simulated_gpu import arrange

ROOT = Path(__file__).parents[1]


def prepare() -> None:
    """Best first; the tests of kernels compile each variant that they launch.

    Raises:
        RepsrError: a compiler or the network is missing.
    """
    cpu.library()
    environment = {**os.environ, **arrange(), "SIMULATED_GPU_SCHEDULE": "eager"}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environment['PYTHONPATH']}"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    subprocess.run(
        [*command, "tests/kernels", "tests/bench/kernels"], cwd=ROOT, env=environment, check=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        prepare()
    except RepsrError:
        sys.exit(1)
