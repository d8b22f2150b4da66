"""The whole measurement of small networks: rows, gains, shares, quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.bench.contestant import PYTORCH
from repsr_deploy.bench.families import Selection
from repsr_deploy.bench.peak import ProcessorPeak
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.bench.throughput import Settings, measure_throughput, with_gain
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import evaluate
from tests.bench.families import checkpoint, model


def measured(models: list[Path], settings: Settings, texts: list[str] | None = None) -> Report:
    said = [] if texts is None else texts

    def progress(text: str, part: float) -> None:
        assert 0 <= part <= 1
        said.append(text)

    return measure_throughput([str(path) for path in models], settings, arguments="args", progress=progress)


def test_folding_pays(tmp_path: Path) -> None:
    settings = Settings(selection=Selection(runtimes=("onnxruntime",)), shapes=((64, 96),), seconds=0.2)
    texts: list[str] = []
    report = measured([checkpoint(tmp_path / "c.safetensors")], settings, texts)
    folded = {row.key["runtime"]: row for row in report.rows if row.key["network"] == "folded"}
    assert set(folded) == {"onnxruntime"}
    for row in folded.values():
        gain, share = row.figures["faster_than_branches"], row.figures["peak_share"]
        assert gain is not None
        assert gain > 1
        assert share is not None
        assert 0 < share < 2
    assert all("faster_than_branches" not in row.figures for row in report.rows if row.key["network"] == "branches")
    assert report.peaks["fp32"] > 1e9
    assert any("memory" in text for text in texts)
    assert any("timing" in text for text in texts)


def test_every_shape_is_a_row(tmp_path: Path) -> None:
    settings = Settings(
        selection=Selection(runtimes=("onnxruntime",)), shapes=((16, 24), (10, 12)), batches=(3,), seconds=0.02
    )
    report = measured([model(tmp_path / "m.onnx")], settings)
    assert [(row.key["input"], row.key["batch"]) for row in report.rows] == [
        ("24x16", "3"),
        ("12x10", "3"),
    ]
    assert all(row.timing for row in report.rows)
    assert report.arguments == "args"


def test_quality_is_that_of_the_evaluation(tmp_path: Path) -> None:
    file = model(tmp_path / "m.onnx")
    (tmp_path / "hr").mkdir()
    picture = tmp_path / "hr" / "chelsea.png"
    write_image(picture, skimage.data.chelsea()[:121, :95])
    settings = Settings(selection=Selection(runtimes=("onnxruntime",)), shapes=((16, 24),), seconds=0.02, hr=(picture,))
    report = measured([file], settings)
    expected = evaluate(Upscaler(file, runtime="onnxruntime").upscale, 2, [picture], bicubic=False).model.psnr_y
    assert report.rows[0].figures["psnr_y_db"] == pytest.approx(expected)
    assert report.settings["hr"] == "1 pictures of hr"


def test_a_wrong_file_of_a_network_is_found(tmp_path: Path) -> None:
    """Says that it is the fp16 form of a network, and holds other weights."""
    files = [model(tmp_path / "right.onnx"), model(tmp_path / "wrong.onnx", seed=1, precision="fp16")]
    settings = Settings(selection=Selection(runtimes=("onnxruntime",)), shapes=((16, 24),), seconds=0.02)
    right, wrong = measured(files, settings).rows
    assert right.timing is not None
    assert "fp16 must have 60" in wrong.failure


def test_gain_compares_what_belongs_together() -> None:
    def row(network: str, runtime: str, median_s: float) -> Row:
        return Row(key={"network": network, "runtime": runtime, "input": "a"}, timing=Timing((median_s,)))

    failed = Row(key={"network": "branches", "runtime": "c", "input": "a"}, failure="no")
    rows = [
        row("folded", "a", 1.0), row("branches", "a", 3.0), row("folded", "b", 1.0), row("folded", "c", 1.0), failed
    ]  # fmt: skip
    assert [found.figures.get("faster_than_branches") for found in with_gain(rows)] == [3.0, None, None, None, None]


def test_peaks_only_rise() -> None:
    peak = ProcessorPeak(1, {"fp32", "fp8"})
    peak.measure(0.0)
    first = dict(peak.macs_per_s)
    peak.measure(0.0)
    assert set(first) == {"fp32"}
    assert all(peak.macs_per_s[name] >= rate > 1e9 for name, rate in first.items())


@pytest.mark.parametrize(
    "changes",
    [{"shapes": ()}, {"shapes": ((0, 5),)}, {"batches": ()}, {"batches": (0,)}, {"threads": 0}, {"seconds": 0.0}],
)
def test_impossible_settings_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        Settings(**changes)  # type: ignore[arg-type]


def test_pytorch_is_left_as_it_was(tmp_path: Path) -> None:
    import torch

    from repsr_deploy.bench.contestant import Contestant

    one = Contestant(
        model="c", form="branches", file=checkpoint(tmp_path / "c.safetensors"), stored="fp32", runtime=PYTORCH,
        computes="fp32",
    )  # fmt: skip
    before = torch.get_num_threads()
    output = one.open(before + 3).run(np.zeros((1, 3, 9, 11), np.float32))
    assert torch.get_num_threads() == before
    assert output.shape == (1, 3, 18, 22)
    assert output.flags["C_CONTIGUOUS"]
