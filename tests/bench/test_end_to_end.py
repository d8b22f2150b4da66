"""Stages of the pipeline from file to file."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data

from repsr_deploy.bench import end_to_end
from repsr_deploy.bench.end_to_end import PIPELINE, STAGES, Settings, measure_end_to_end, time_stages
from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.imaging.upscaler import Upscaler
from tests.bench.families import model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "pictures" / "a.png", skimage.data.chelsea()[:60, :80])
    write_image(tmp_path / "pictures" / "b.jpg", skimage.data.chelsea()[:50, :30])
    return tmp_path / "pictures"


def test_stages_and_the_whole(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "FULL_HD", (108, 192))
    settings = Settings(model=str(model(tmp_path / "m.onnx")), runtime="onnxruntime", seconds=0.2)
    parts: list[float] = []
    report = measure_end_to_end([folder], settings, arguments="args", progress=lambda _, part: parts.append(part))
    rows = {row.key["what"]: row for row in report.rows}
    assert list(rows) == [*STAGES, PIPELINE, "bare runtime", "upscaler"]
    assert sum(rows[stage].figures["share"] or 0 for stage in STAGES) == pytest.approx(1)
    assert rows["decode"].key["of"] == "2 files, 0.0 MP out"
    decode = rows["decode"]
    assert decode.timing is not None
    assert rows["upscaler"].key["of"] == "192x108 picture, 0.1 MP out"
    pixels = (60 * 80 + 50 * 30) * 4
    assert decode.figures["ms_per_megapixel"] == pytest.approx(decode.timing.median_s * 1e3 / (pixels / 1e6))
    assert any("times the bare runtime" in note for note in report.notes)
    assert any("repsr-upscale of a.png takes" in note for note in report.notes)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.jpg"]
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_a_file_that_fails_is_named(folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(model(tmp_path / "m.onnx"), runtime="onnxruntime")
    (folder / "c.png").write_bytes(b"no image")
    jobs = [Job(path, tmp_path / f"out-{path.name}") for path in sorted(folder.iterdir())]
    with pytest.raises(ImageFileError, match=r"c\.png"):
        time_stages(upscaler, jobs, 0.01, lambda part: None)


def test_bad_requests(folder: Path, tmp_path: Path) -> None:
    for files, settings, error in (
        ([], Settings(), UsageError),
        ([folder], Settings(model="photo-x9"), UsageError),
        ([folder], Settings(runtime="abacus"), UsageError),
        ([tmp_path / "none.png"], Settings(runtime="onnxruntime"), RepsrError),
    ):
        with pytest.raises(error):
            measure_end_to_end(files, settings, arguments="", progress=lambda text, part: None)
