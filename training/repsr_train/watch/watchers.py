"""Everything that looks at a run, behind one call for each report."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

from rich.console import Console

from repsr_train.config import Recipe
from repsr_train.trainer import Report
from repsr_train.watch.curves import draw_curves
from repsr_train.watch.metrics import METRICS, MetricsFile, row_of
from repsr_train.watch.progress import ProgressLine
from repsr_train.watch.samples import write_samples
from repsr_train.watch.tensorboard import TensorBoard

WRITES = {"matplotlib": "curves.png", "tensorboard": "TensorBoard files"}
"""Optional package -> what is written with it."""
REDRAW_S = 30.0
"""Least time between two drawings of the curves, each of which takes half a second."""


class Watchers:
    """Writes into `folder` and prints to `console` what happens from `step` on."""

    def __init__(self, folder: Path, recipe: Recipe, step: int, console: Console) -> None:
        self._folder, self._recipe = folder, recipe
        self.metrics = MetricsFile(folder / METRICS, step)
        self.progress = ProgressLine(console, step=step, steps=recipe.steps, batch=recipe.batch)
        missing = [name for name in WRITES if importlib.util.find_spec(name) is None]
        if missing:
            lacks = " and ".join(f"{WRITES[name]} ({name} is not installed)" for name in missing)
            console.print(f"goes on without {lacks}; pip install {' '.join(missing)}", markup=False)
        self._draws = "matplotlib" not in missing
        self._drawn_s = time.monotonic()
        self._board = TensorBoard(folder / "tensorboard", step) if "tensorboard" not in missing else None

    def reported(self, report: Report) -> None:
        """Tell all of them."""
        self.metrics.append(row_of(report))
        self.progress.reported(report)
        if self._board is not None:
            self._board.reported(report)
        if report.validation is not None:
            write_samples(self._folder / "samples", report.validation.samples)
            if time.monotonic() - self._drawn_s >= REDRAW_S:
                self._draw()

    def close(self) -> None:
        """Finish what they write."""
        self.progress.close()
        self._draw()
        if self._board is not None:
            self._board.close()

    def _draw(self) -> None:
        if self._draws and self.metrics.rows:
            network, switch = self._recipe.network, self._recipe.population_step
            self._drawn_s = time.monotonic()
            draw_curves(self._folder / "curves.png", self.metrics.rows, f"{network.name} x{network.scale}", switch)
