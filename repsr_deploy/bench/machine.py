"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.host import package_version, processor_name

# fmt: off
PACKAGES = (
    "numpy", "opencv-python-headless", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt",
    "tensorrt-rtx", "pycuda",
)
# fmt: on
"""Distributions whose version can change a time."""
BUSY = 0.5
"""Processes for each core that wanted to run during the last minute, above which times are not to be trusted."""


def describe_machine(threads: int) -> dict[str, Any]:
    """What a measurement with so many threads is made on: plain JSON values."""
    return {
        "version": __version__,
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": _meminfo("MemTotal"),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "gpus": _gpus(),
        "python": platform.python_version(),
        "packages": {name: number for name in PACKAGES if (number := package_version(name)) is not None},
    }


def hardware(machine: Mapping[str, Any]) -> str:
    """`AMD EPYC, 2 cores, 1 thread`, and GPUs where there are some."""
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return ", ".join([machine["processor"], f"{machine['cores']} cores", threads, *machine["gpus"]])


def warning(machine: Mapping[str, Any]) -> list[str]:
    """What to say when others were using the machine as it was described; empty when it was idle."""
    load, cores = machine["load_1min"], machine["cores"]
    if load is None or cores is None or load <= BUSY * cores:
        return []
    return [f"the machine was busy before: {load:.1f} processes wanted to run on {cores} cores; measure on an idle one"]


def available_memory_bytes() -> int | None:
    """Memory that could be taken now without swapping; None where the system (not Linux) does not say."""
    return _meminfo("MemAvailable")


def status_bytes(field: str) -> int | None:
    """A field of this process's status in Linux, `VmRSS` (resident memory) or `VmHWM` (its peak); None elsewhere.

    VmHWM rather than `ru_maxrss`, which begins with the memory of the process that started this one.
    """
    return _kibibytes(Path("/proc/self/status"), field)


def _meminfo(field: str) -> int | None:
    return _kibibytes(Path("/proc/meminfo"), field)


def _kibibytes(path: Path, field: str) -> int | None:
    """`Field:  123 kB` in a file of /proc, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def gpu_clocks() -> list[str]:
    """Clocks, and what may lower them, of each NVIDIA GPU at this moment, as `nvidia-smi` says; as `describe_machine`.

    Processor and memory, each with its highest, then power and temperature.
    """
    return _nvidia_smi("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem", "power.draw", "temperature.gpu")


def _gpus() -> list[str]:
    """Name, driver and memory of each NVIDIA GPU."""
    return _nvidia_smi("name", "driver_version", "memory.total")


def _nvidia_smi(*fields: str) -> list[str]:
    """A line for each NVIDIA GPU, as `nvidia-smi` says; none where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ["unknown: nvidia-smi is here but fails"]
    return done.stdout.splitlines()
