"""The progress line: at the bottom of a terminal, or now and then a line of its own in a file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from repsr_train.trainer import Report

REDRAW_S = 0.5
LINE_EVERY_S = 60.0
"""Least time between two lines where there is no terminal, apart from validations."""


class ProgressLine:
    """Shows how far a training of `steps` steps of `batch` crops is; drawing costs nothing in between."""

    def __init__(self, console: Console, *, step: int, steps: int, batch: int) -> None:
        self._console, self._steps, self._batch = console, steps, batch
        self._bar = Progress(
            BarColumn(30),
            TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("", total=steps, completed=step)
        self._loss = ""
        self._drawn_s = self._printed_s = time.monotonic()
        self._since = (self._drawn_s, step)
        self._bar.start()

    def stepped(self, step: int) -> None:
        """Redraw, if it is time."""
        now_s = time.monotonic()
        if now_s - self._drawn_s < REDRAW_S:
            return
        self._drawn_s = now_s
        if self._bar.disable:
            return
        since_s, since_step = self._since
        speed = (step - since_step) / (now_s - since_s)
        self._bar.update(self._task, completed=step, description=self._text(step, speed))
        self._bar.refresh()

    def reported(self, report: Report) -> None:
        """Note the loss; print a line after a validation, for skipped steps, and now and then where no bar is shown."""
        now_s = time.monotonic()
        self._since = (now_s, report.step)
        self._loss = f"  loss {report.loss:.5f}"
        for step, loss in report.skipped.items():
            self._print(f"step {step} skipped: its loss is {loss:.4g}, or its gradient not finite")
        if report.validation is not None:
            text = self._text(report.step, report.images_per_s / self._batch)
            self._print(f"{text}  validation PSNR-Y {report.validation.psnr_y:.3f} dB")
        elif self._bar.disable and now_s - self._printed_s >= LINE_EVERY_S:
            self._print(self._text(report.step, report.images_per_s / self._batch))

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()

    def _print(self, line: str) -> None:
        self._printed_s = time.monotonic()
        self._console.print(line, markup=False)

    def _text(self, step: int, steps_per_s: float) -> str:
        eta = _clock((self._steps - step) / steps_per_s) if steps_per_s > 0 else "unknown"
        speed = f"{steps_per_s:.1f} steps/s  {steps_per_s * self._batch:.0f} images/s"
        return f"step {step}/{self._steps}{self._loss}  {speed}  ETA {eta}"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
