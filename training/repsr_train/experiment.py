"""A training run as a folder: what was asked, what was reported, the state to resume from and the checkpoint.

run.json                resolved recipe, data, versions and machine
log.jsonl               one line for each validation
state.safetensors       for --resume
checkpoint.safetensors  the averaged multi-branch network: what `repsr-fuse export` reads
"""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from repsr_deploy._version import __version__
from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import write_text
from repsr_train.data import CropSampler, PhotoSet, load_photographs
from repsr_train.recipes import Recipe
from repsr_train.trainer import Progress, Trainer

CHECKPOINT, STATE, RUN, LOG = "checkpoint.safetensors", "state.safetensors", "run.json", "log.jsonl"


class Interrupted(RepsrError):  # noqa: N818
    """The user stopped the run; its state is saved."""

    exit_code = 130


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run, on which photographs, and where its folder is."""

    recipe: Recipe
    data: Path
    validation: Path | None
    out: Path
    resume: bool = False
    init: Path | None = None
    """Checkpoint whose weights to start from, where names and shapes agree (x4 from x2, say)."""
    device: str = "auto"
    data_licence: str = ""


def run_experiment(experiment: Experiment, say: Callable[[str], None]) -> Path:
    """Train and return the path of the checkpoint. `say` receives lines for the user.

    Raises:
        UsageError: impossible inputs, or a folder that holds another run.
        Interrupted: stopped by Ctrl-C or a termination signal, at a step's end, state saved.
        RepsrError: the loss diverged, or a file cannot be written.
    """
    recipe, out = experiment.recipe, experiment.out
    device = choose_device(experiment.device)
    if not experiment.resume and (out / STATE).exists():
        raise UsageError(f"{out} already holds a training run; continue it with --resume or choose another --out")
    missing = [name for name in (RUN, STATE) if not (out / name).is_file()]
    if experiment.resume and missing:
        raise UsageError(f"nothing to resume in {out}: no {' and no '.join(missing)} there; train without --resume")
    say("preparing photographs")
    scale = recipe.network.scale
    photographs = load_photographs(experiment.data, scale, say)
    validation = load_photographs(experiment.validation, scale, say).pairs if experiment.validation else ()
    sampler = CropSampler(photographs.pairs, scale=scale, patch=recipe.patch, batch=recipe.batch, seed=recipe.seed)
    trainer = Trainer(recipe, sampler, device)
    if experiment.resume:
        trainer.load_state(out / STATE)
        description = json.loads((out / RUN).read_text())
    else:
        description = _describe(experiment, photographs, device)
        if experiment.init is not None:
            net, source = load_checkpoint(experiment.init)
            fresh = trainer.start_from(net.state_dict())
            description["history"] = source.history
            say(f"weights from {experiment.init}; new: {', '.join(fresh) or 'none'}")
        write_text(out / RUN, json.dumps(description, indent=2) + "\n")
    say(
        f"{recipe.network.name} x{scale}: {recipe.steps} steps of {recipe.batch} crops of "
        f"{recipe.patch}x{recipe.patch} LR pixels from {len(photographs.pairs)} photographs, "
        f"on {device}, from step {trainer.step}"
    )
    last: Progress | None = None

    def report(progress: Progress) -> None:
        nonlocal last
        last = progress
        _append(out / LOG, asdict(progress))
        trainer.save_state(out / STATE)
        say(format_progress(progress))

    started = time.monotonic()
    with _stop_flag() as stopped:
        trainer.run(validation, report, stopped)
        if trainer.step < recipe.steps:
            trainer.save_state(out / STATE)
            raise Interrupted(f"stopped at step {trainer.step} of {recipe.steps}; continue with --resume")
    entry = {
        "stage": "train",
        "recipe": json.loads(recipe.to_json()),
        "recipe_hash": recipe.hash,
        "step": trainer.step,
        "photographs": len(photographs.pairs),
        "data_fingerprint": photographs.fingerprint,
        "init": description["init"],
        "loss": last.loss if last else None,
        "validation_psnr_y": last.psnr_y if last else None,
        "seconds": round(time.monotonic() - started),
        "version": __version__,
        "torch": torch.__version__,
    }
    history = [*description["history"], entry]
    info = CheckpointInfo(spec=recipe.network, history=history, data_licence=experiment.data_licence)
    trainer.save_checkpoint(out / CHECKPOINT, info)
    return out / CHECKPOINT


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device.

    Raises:
        UsageError: an unknown name, or CUDA where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda is asked for, but PyTorch sees no CUDA device; use --device cpu")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def format_progress(progress: Progress) -> str:
    """One line: how far, how good, how long it will take."""
    quality = "" if progress.psnr_y is None else f"  validation PSNR-Y {progress.psnr_y:.3f} dB"
    minutes, seconds = divmod(round(progress.eta_s), 60)
    return (
        f"step {progress.step}/{progress.steps}  L1 {progress.loss:.5f}{quality}  "
        f"{progress.steps_per_s:.1f} steps/s  ETA {minutes // 60}:{minutes % 60:02}:{seconds:02}"
    )


def _describe(experiment: Experiment, photographs: PhotoSet, device: torch.device) -> dict[str, Any]:
    return {
        "recipe": json.loads(experiment.recipe.to_json()),
        "recipe_hash": experiment.recipe.hash,
        "data": {
            "folder": str(experiment.data),
            "photographs": len(photographs.pairs),
            "megapixels": round(
                sum(pair.hr_hwc.shape[0] * pair.hr_hwc.shape[1] for pair in photographs.pairs) / 1e6, 1
            ),
            "fingerprint": photographs.fingerprint,
            "unreadable": photographs.unreadable,
        },
        "validation": str(experiment.validation) if experiment.validation else None,
        "init": experiment.init.name if experiment.init else "",
        "history": [],
        "versions": {"repsr-deploy": __version__, "torch": torch.__version__, "numpy": np.__version__},
        "machine": {
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
    }


def _append(path: Path, entry: dict[str, Any]) -> None:
    try:
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise RepsrError(f"cannot write {path}: {error.strerror}; choose a writable --out with free space") from error


@contextmanager
def _stop_flag() -> Generator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a flag that the trainer looks at between steps; a second Ctrl-C stops at once."""
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
