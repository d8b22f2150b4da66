"""A training run from its request to its checkpoint: what can be refused is refused before photographs are decoded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import write_text
from repsr_train.batches import Batches, stored_scale
from repsr_train.config import Recipe
from repsr_train.data import PhotoSet, load_data
from repsr_train.distributed import Processes, joined
from repsr_train.folder import CHECKPOINT, RUN, check_folder, check_space, describe
from repsr_train.guard import DivergedError
from repsr_train.interchange import fit, read_weights
from repsr_train.qat import Scales
from repsr_train.recorder import Ledger, Recorder
from repsr_train.signals import stop_flag
from repsr_train.state import load_state
from repsr_train.step import Learner
from repsr_train.trainer import Hooks, train

Say = Callable[[str], None]
"""Receives lines for the user."""


class Interrupted(RepsrError):  # noqa: N818
    """The user stopped the run; its state is saved."""

    exit_code = 130


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What to run, on which photographs, and where its folder is."""

    recipe: Recipe
    data: Sequence[Path]
    """Folders of photographs and prepared stores."""
    validation: Sequence[Path] = ()
    """The same, never trained on."""
    out: Path
    resume: bool = False
    init_from: Path | None = None
    """Weights to start from, where names and shapes agree (x4 from x2, say)."""
    device: str = "auto"
    workers: int | None = None
    """Processes that cut crops; None: as many as the device needs."""
    data_licence: str = ""
    """Of the photographs; what a store says about its own is added."""
    save_pth: bool = False
    """Whether to write checkpoint.pth, too, as BasicSR does."""
    int8: Scales | None = None
    """Scales of the convolutions that are trained in int8 (`repsr_train.qat`); none for float."""


def run_experiment(experiment: Experiment, console: Console) -> Path:
    """Train, in as many processes as torchrun started, and return the path of the checkpoint.

    Raises:
        UsageError: impossible inputs, or a folder that holds another run.
        Interrupted: stopped by Ctrl-C or a termination signal; the state is saved.
        RepsrError: the loss diverged, or a file cannot be read or written.
    """
    device = choose_device(experiment.device)
    if experiment.recipe.precision == "fp16" and device.type != "cuda":
        raise UsageError("precision is fp16, which needs a CUDA device; use --set precision=bf16 or fp32")
    check_folder(experiment.out, resume=experiment.resume)
    with joined(device) as processes:
        return _run(experiment, device, processes, console if processes.leads else Console(quiet=True))


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device; of several processes each takes the CUDA device with its local number.

    Raises:
        UsageError: an unknown name, or CUDA where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}; expected auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda is asked for, but PyTorch sees no CUDA device; use --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def _run(experiment: Experiment, device: torch.device, processes: Processes, console: Console) -> Path:
    def say(line: str) -> None:
        console.print(line, markup=False)

    recipe, out = experiment.recipe, experiment.out
    processes.part(recipe.batch)
    learner = Learner(recipe, device, processes, int8=experiment.int8)
    check_space(out, learner.net)
    ledger, history = _begin(experiment, learner, say)
    say("preparing photographs")
    validates = experiment.validation and processes.leads
    validation = load_data(experiment.validation, recipe.network.scale, say).pairs if validates else ()
    photographs = load_data(experiment.data, stored_scale(recipe), say)
    _check_photographs(out, ledger, photographs)
    batches = Batches(photographs.pairs, recipe, device, processes, workers=experiment.workers, report=say)
    say(
        f"{recipe.network.name} x{recipe.network.scale}: {recipe.steps} steps of {recipe.batch} crops of "
        f"{recipe.patch}x{recipe.patch} LR pixels from {len(photographs.pairs)} photographs, on {device}, "
        f"from step {learner.step}"
    )
    with stop_flag(patient=processes.count > 1) as stopped:
        if processes.leads:
            description = _description(experiment, history, photographs, learner)
            recorder = Recorder(
                out, learner, batches, validation, ledger, description, console, save_pth=experiment.save_pth
            )
            _train_recorded(recorder, learner, batches, stopped)
        else:
            train(learner, batches, Hooks(should_stop=stopped))
    if learner.step < recipe.steps:
        raise Interrupted(f"stopped at step {learner.step} of {recipe.steps}; the same command with --resume continues")
    checkpoint = out / CHECKPOINT
    say(f"wrote {checkpoint}; fold and export it with: repsr-fuse export {checkpoint} --out MODEL.onnx")
    return checkpoint


def _begin(experiment: Experiment, learner: Learner, say: Say) -> tuple[Ledger, list[dict[str, Any]]]:
    """Put `learner` where the run begins or goes on; returns what the run knows, and the history of its weights."""
    if experiment.resume:
        return Ledger(**load_state(experiment.out, learner, say)), []
    path = experiment.init_from
    if path is None:
        return Ledger(), []
    weights = read_weights(path)
    fitting = fit(weights.tensors, learner.net, path)
    learner.start_from(fitting.taken)
    source = f"{path} ({weights.found})" if weights.found else str(path)
    say(f"weights from {source}; new: {', '.join(fitting.fresh) or 'none'}")
    return Ledger(), weights.history


def _check_photographs(out: Path, ledger: Ledger, photographs: PhotoSet) -> None:
    ledger.photographs = ledger.photographs or photographs.fingerprint
    if ledger.photographs != photographs.fingerprint:
        raise UsageError(
            f"{out} was trained on other photographs (fingerprint {ledger.photographs}; those of --data have "
            f"{photographs.fingerprint}); resume with the same, or train into another folder with --init-from"
        )


def _description(
    experiment: Experiment, history: list[dict[str, Any]], photographs: PhotoSet, learner: Learner
) -> dict[str, Any]:
    """The content of run.json, which is written when a run begins."""
    path = experiment.out / RUN
    if experiment.resume:
        return json.loads(path.read_text())
    init_from = experiment.init_from
    licences = (experiment.data_licence, photographs.licence)
    description = {
        "recipe": experiment.recipe.values(),
        "recipe_hash": experiment.recipe.hash,
        "data": [str(folder) for folder in experiment.data],
        "data_licence": "; ".join(licence for licence in licences if licence),
        "validation": [str(folder) for folder in experiment.validation],
        "init_from": init_from.name if init_from else "",
        "history": history,
        **describe(photographs, learner.device, learner.processes.count),
    }
    write_text(path, json.dumps(description, indent=2) + "\n")
    return description


def _train_recorded(recorder: Recorder, learner: Learner, batches: Batches, stopped: Callable[[], bool]) -> None:
    try:
        train(learner, batches, recorder.hooks(stopped))
        recorder.finish()
    except DivergedError as error:
        raise DivergedError(
            f"{error}; the state of step {learner.step} is in {recorder.out}; train again with a lower learning rate "
            f"(--set lr={learner.recipe.lr / 2:g}) into another folder"
        ) from error
    finally:
        recorder.close()
