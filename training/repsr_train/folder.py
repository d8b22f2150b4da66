"""The folder of a run: names, what must be true of it before any work, and what run.json says about the machine."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsr_deploy._version import __version__
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.nets.network import Network, num_parameters
from repsr_train.data import PhotoSet
from repsr_train.state import STATE, has_state

RUN, CHECKPOINT, BEST, PTH = "run.json", "checkpoint.safetensors", "best.safetensors", "checkpoint.pth"

COPIES = 14
"""Of a network's weights that a run keeps on the disk at once: three states of network, average and two moments while
one replaces another, and two checkpoints."""


def check_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder that cannot be written to, or holds what it should not.

    Raises:
        UsageError: it holds a run already, or nothing to resume.
        RepsrError: it cannot be made or written to.
    """
    if not resume and has_state(out):
        raise UsageError(f"{out} already holds a training run; continue it with --resume or choose another --out")
    if resume and not (has_state(out) and (out / RUN).is_file()):
        missing = " and ".join(name for name in (RUN, STATE) if not (out / name).is_file())
        raise UsageError(f"nothing to resume in {out}: no {missing} there; train without --resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepsrError(f"cannot write {out}: {error.strerror}; choose a writable --out") from error
    if not os.access(out, os.W_OK):
        raise RepsrError(f"cannot write {out}: no right to; choose a writable --out")


def check_space(out: Path, net: Network) -> None:
    """Refuse a disk on which states and checkpoints of `net` have no room.

    Raises:
        RepsrError: too little is free.
    """
    needed, free = COPIES * 4 * num_parameters(net), shutil.disk_usage(out).free
    if free < needed:
        raise RepsrError(
            f"{out} has {free / 1e6:.0f} MB free; states and checkpoints of {net.spec.name} need "
            f"{needed / 1e6:.0f} MB; make space or choose another --out"
        )


def describe(photographs: PhotoSet, device: torch.device, processes: int) -> dict[str, Any]:
    """What run.json says about photographs, versions and machine."""
    pixels = sum(pair.hr_hwc.shape[0] * pair.hr_hwc.shape[1] for pair in photographs.pairs)
    return {
        "photographs": {
            "count": len(photographs.pairs),
            "megapixels": round(pixels / 1e6, 1),
            "fingerprint": photographs.fingerprint,
            "unreadable": photographs.unreadable,
        },
        "versions": {"repsr-deploy": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
    }
