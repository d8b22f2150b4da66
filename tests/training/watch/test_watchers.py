"""Progress, curves, sample pictures and TensorBoard, from reports of a real training."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.metrics.evaluate import reduce
from repsr_train.recipes import recipe
from repsr_train.trainer import Report
from repsr_train.validation import Sample, Validation
from repsr_train.watch.curves import draw_curves
from repsr_train.watch.progress import ProgressLine
from repsr_train.watch.samples import GAP, strip
from repsr_train.watch.watchers import Watchers

RANDOM = np.random.default_rng(0)


@pytest.fixture
def sample() -> Sample:
    hr_hwc = RANDOM.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return Sample("folder/photo.webp", reduce(hr_hwc, 2), 255 - hr_hwc, hr_hwc)


def report(step: int, validation: Validation | None = None, skipped: dict[int, float] | None = None) -> Report:
    return Report(step, 0.02, 1e-3, 160.0, skipped or {}, validation)


def console_of(text: io.StringIO, *, terminal: bool) -> Console:
    return Console(file=text, force_terminal=terminal, width=200, highlight=False)


def test_a_strip_shows_lr_output_hr(sample: Sample) -> None:
    picture = strip(sample)
    assert picture.shape == (24, 3 * 24 + 2 * GAP, 3)
    assert np.array_equal(picture[:2, :2], np.broadcast_to(sample.lr_hwc[0, 0], (2, 2, 3)))
    assert np.array_equal(picture[:, 24 + GAP : 48 + GAP], sample.output_hwc)
    assert np.array_equal(picture[:, 48 + 2 * GAP :], sample.hr_hwc)
    assert (picture[:, 24 : 24 + GAP] == 255).all()


def test_everything_is_written_and_hides_what_was_undone(sample: Sample, tmp_path: Path) -> None:
    chosen = recipe("plain-m1c4-x2")
    text = io.StringIO()
    watchers = Watchers(tmp_path, chosen, 0, console_of(text, terminal=False))
    for step in (100, 200, 300):
        watchers.reported(report(step, Validation(30 + step / 100, {"blur": 28.0}, (sample,))))
    watchers.close()
    again = Watchers(tmp_path, chosen, 200, console_of(text, terminal=False))
    assert [row["step"] for row in again.metrics.rows] == [100, 200]
    again.reported(report(300, Validation(29.0, {}, (sample,))))
    again.close()
    assert np.array_equal(read_image(tmp_path / "samples" / "0-photo.png"), strip(sample))
    curves = read_image(tmp_path / "curves.png")
    assert min(curves.shape[:2]) > 500
    assert len(np.unique(curves.reshape(-1, curves.shape[2]), axis=0)) > 20
    assert scalars(tmp_path / "tensorboard") == {
        "loss": [100, 200, 300],
        "lr": [100, 200, 300],
        "images_per_s": [100, 200, 300],
        "psnr_y": [100, 200, 300],
        "degraded/blur": [100, 200],
    }
    assert "step 300/100000  loss 0.02000  10.0 steps/s  160 images/s" in text.getvalue()
    assert "validation PSNR-Y 29.000 dB" in text.getvalue()


def scalars(folder: Path) -> dict[str, list[int]]:
    """Name -> steps that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator: Any = EventAccumulator(str(folder))
    accumulator.Reload()
    return {name: [event.step for event in accumulator.Scalars(name)] for name in accumulator.Tags()["scalars"]}


def test_missing_packages_are_said_in_one_line(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name in ("matplotlib", "tensorboard") else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    text = io.StringIO()
    watchers = Watchers(tmp_path, recipe("plain-m1c4-x2"), 0, console_of(text, terminal=False))
    watchers.reported(report(100, Validation(30.0, {}, (sample,))))
    watchers.close()
    first = text.getvalue().splitlines()[0]
    assert "goes on without curves.png (matplotlib is not installed) and TensorBoard files (tensorboard is not" in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "samples"]


def test_a_terminal_shows_a_bar_and_keeps_only_lines_that_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    text = io.StringIO()
    line = ProgressLine(console_of(text, terminal=True), step=0, steps=1000, batch=16)
    for step in range(1, 101):
        now_s[0] += 0.1
        line.stepped(step)
    line.reported(report(100, skipped={42: 7.5}))
    line.close()
    shown = text.getvalue()
    assert 15 <= shown.count("ETA") <= 25  # twice a second
    assert re.search(r"step 5\d/1000  10\.0 steps/s  160 images/s  ETA 0:01:3\d", shown)
    assert "step 42 skipped: its loss is 7.5, or its gradient not finite" in shown


def test_a_log_file_gets_a_line_a_minute() -> None:
    text = io.StringIO()
    line = ProgressLine(console_of(text, terminal=False), step=0, steps=1000, batch=16)
    line.stepped(1)
    line.reported(report(100))
    assert text.getvalue() == ""
    line._printed_s -= 61  # type: ignore[reportPrivateUsage]  # a minute later
    line.reported(report(200))
    line.close()
    assert text.getvalue() == "step 200/1000  loss 0.02000  10.0 steps/s  160 images/s  ETA 0:01:20\n"


@pytest.mark.parametrize("rows", [1, 3])
def test_curves_are_drawn_of_little_and_of_odd_data(rows: int, tmp_path: Path) -> None:
    data = [
        {"step": 100 * step, "loss": None if step == 2 else 0.1, "lr": 1e-3, "skipped": [3]} for step in range(rows)
    ]
    draw_curves(tmp_path / "curves.png", data, "Plain", 0)
    assert read_image(tmp_path / "curves.png").ndim == 3
