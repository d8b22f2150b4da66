"""What the first process of a run writes into its folder.

run.json                          resolved recipe, photographs, versions and machine
metrics.jsonl, curves.png         loss, learning rate, speed and PSNR-Y over the steps
samples/, tensorboard/            pictures of the last validation; everything for TensorBoard
state.safetensors                 for --resume; state.previous.safetensors is the one before
checkpoint.safetensors            the averaged multi-branch network: what `repsr-fuse export` reads
best.safetensors                  the same, as it was when validation PSNR-Y was highest
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from repsr_deploy._version import __version__
from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.nets.network import Network
from repsr_train.batches import Batches
from repsr_train.data import Pair
from repsr_train.folder import BEST, CHECKPOINT, PTH
from repsr_train.interchange import save_pth
from repsr_train.state import has_state, save_state
from repsr_train.step import Learner
from repsr_train.trainer import Hooks, Report
from repsr_train.validation import Validation, validate
from repsr_train.watch.watchers import Watchers


@dataclass(kw_only=True)
class Ledger:
    """What a run knows beside its network; part of the state."""

    photographs: str = ""
    """Fingerprint of what it trains on."""
    seconds: float = 0.0
    """Time spent so far."""
    best_step: int = 0
    best_psnr_y: float | None = None
    """dB; None before the first validation."""


class Recorder:
    """Validates, reports and saves. `description` is the content of run.json."""

    def __init__(
        self,
        out: Path,
        learner: Learner,
        batches: Batches,
        validation: Sequence[Pair],
        ledger: Ledger,
        description: dict[str, Any],
        console: Console,
        *,
        save_pth: bool,
    ) -> None:
        self.out, self._learner, self._batches = out, learner, batches
        self._validation, self._ledger, self._description = validation, ledger, description
        self._save_pth = save_pth
        self._watchers = Watchers(out, learner.recipe, learner.step, console)
        self._averaged: Network | None = None
        self._written_step: int | None = None
        self._since_s = time.monotonic()
        if not has_state(out):
            self._save()  # from here on the run can be resumed

    def hooks(self, should_stop: Callable[[], bool]) -> Hooks:
        """What the training loop calls."""
        return Hooks(
            stepped=self._watchers.progress.stepped,
            validate=self._validate,
            reported=self._reported,
            save=self._save,
            should_stop=should_stop,
        )

    def finish(self) -> None:
        """Write the checkpoint of a run that was at its end already."""
        if self._learner.step == self._learner.recipe.steps and self._written_step is None:
            self._write(CHECKPOINT, self._learner.averaged(self._batches.statistics(self._learner.step)))

    def close(self) -> None:
        """Finish what watchers write."""
        self._watchers.close()

    def _validate(self, averaged: Network) -> Validation | None:
        self._averaged = averaged
        degraded = self._learner.recipe.degradation != "bicubic"
        return validate(averaged, self._validation, degraded=degraded) if self._validation else None

    def _reported(self, report: Report) -> None:
        self._watchers.reported(report)
        if self._averaged is None:
            return
        ledger = self._ledger
        score = None if report.validation is None else report.validation.psnr_y
        if score is not None and (ledger.best_psnr_y is None or score > ledger.best_psnr_y):
            ledger.best_step, ledger.best_psnr_y = report.step, score
            self._write(BEST, self._averaged)
        self._write(CHECKPOINT, self._averaged)
        self._averaged = None

    def _save(self) -> None:
        self._count_time()
        save_state(self.out, self._learner, asdict(self._ledger))

    def _write(self, name: str, averaged: Network) -> None:
        self._count_time()
        info = CheckpointInfo(
            spec=self._learner.recipe.network,
            history=[*self._description["history"], self._history_entry()],
            data_licence=self._description["data_licence"],
        )
        save_checkpoint(self.out / name, averaged, info)
        self._written_step = self._learner.step
        if self._save_pth and name == CHECKPOINT:
            save_pth(self.out / PTH, self._learner.net, averaged)

    def _history_entry(self) -> dict[str, Any]:
        rows, recipe = self._watchers.metrics.rows, self._learner.recipe
        scores = [row["psnr_y"] for row in rows if "psnr_y" in row]
        return {
            "stage": "train",
            "recipe": recipe.values(),
            "recipe_hash": recipe.hash,
            "step": self._learner.step,
            "photographs": self._description["photographs"]["count"],
            "data_fingerprint": self._ledger.photographs,
            "init_from": self._description["init_from"],
            "loss": rows[-1]["loss"] if rows else None,
            "validation_psnr_y": scores[-1] if scores else None,
            "seconds": round(self._ledger.seconds),
            "version": __version__,
            "torch": torch.__version__,
        }

    def _count_time(self) -> None:
        now_s = time.monotonic()
        self._ledger.seconds += now_s - self._since_s
        self._since_s = now_s
