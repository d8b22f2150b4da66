"""From file to file, timed: what is done, in which ways, and what limits it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from repsr_deploy.bench import end_to_end
from repsr_deploy.bench.end_to_end import Settings, measure_end_to_end
from repsr_deploy.bench.file_work import APART, OURS, PLAIN, picture_work
from repsr_deploy.bench.plain_script import PlainScript, write_checkpoint
from repsr_deploy.bench.stages_apart import StagesApart
from repsr_deploy.errors import FoldError, ImageFileError, ProofError, RepsrError, UsageError
from repsr_deploy.imaging.batch import LOAD, PROCESS, SAVE, Workers
from repsr_deploy.imaging.folders import Job
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.upscaler import Upscaler
from tests.bench.families import model
from tests.runtimes.models import features_model, plain_model, spec_of
from tests.support import declare_torchvision_schemas

declare_torchvision_schemas()

STAGES = (LOAD, PROCESS, SAVE)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "FULL_HD", (108, 192))
    monkeypatch.setattr(end_to_end, "CLIP", (64, 48, 5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "pictures" / "a.png", skimage.data.chelsea()[:60, :80])
    write_image(tmp_path / "pictures" / "b.jpg", skimage.data.chelsea()[:50, :30])
    return tmp_path / "pictures"


def test_pictures_a_folder_and_a_video_against_a_plain_script(folder: Path, tmp_path: Path) -> None:
    settings = Settings(model=str(model(tmp_path / "m.onnx")), runtime="onnxruntime", seconds=0.2, plain=True)
    parts: list[float] = []
    report = measure_end_to_end([folder], settings, arguments="args", progress=lambda _, part: parts.append(part))
    rows = {(row.key["what"].split()[0], row.key["way"]): row for row in report.rows}
    stages = [f"{stage} alone" for stage in STAGES]
    assert [*rows] == [
        ("picture", OURS), ("picture", PLAIN),
        *(("folder", way) for way in (OURS, PLAIN, APART, *stages)),
        ("video", OURS), ("video", PLAIN),
        ("picture", "bare runtime"), ("picture", "upscaler"),
    ]  # fmt: skip
    assert rows["video", OURS].key["what"] == "video 64x48, 5 frames"
    for (what, way), row in rows.items():
        assert row.timing is not None
        if way in (OURS, PLAIN):
            assert row.key["limited by"], row.key
            plain = rows[what, PLAIN].timing
            assert plain is not None
            assert row.figures["times_plain"] == pytest.approx(plain.median_s / row.timing.median_s)
    ours = rows["folder", OURS]
    pixels = (60 * 80 + 50 * 30) * 4
    assert ours.timing is not None
    assert ours.figures["megapixels_per_s"] == pytest.approx(pixels / 1e6 / ours.timing.median_s)
    alone_s = [timing.median_s for name in stages if (timing := rows["folder", name].timing) is not None]
    assert ours.figures["stage_share"] == pytest.approx(max(alone_s) / ours.timing.median_s)
    assert 0 < (ours.figures["cores_share"] or 0) < 1.5
    assert any("times the bare runtime" in note for note in report.notes)
    assert any("repsr-upscale of a.png takes" in note for note in report.notes)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.jpg"]
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_stages_in_turn_add_up(folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(model(tmp_path / "m.onnx"), runtime="onnxruntime")
    jobs = [Job(path, tmp_path / "out" / path.name) for path in sorted(folder.iterdir())]
    stages = StagesApart(upscaler, jobs, Workers(load=2, process=1, save=2))
    for _ in range(3):
        stages()
    assert [*stages.timings(2)] == [*STAGES]
    assert all(len(timing.times_s) == 2 for timing in stages.timings(2).values())
    assert read_image(tmp_path / "out" / "a.png").shape == (120, 160, 3)
    last = stages.rounds[-1]
    assert last[stages.limiting] == max(last.values())


def test_another_picture_is_no_contest(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted error: red and blue change places in the script."""
    right = PlainScript.upscale

    def wrong(script: PlainScript, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return right(script, image_bgr)[..., ::-1].copy()

    monkeypatch.setattr(PlainScript, "upscale", wrong)
    settings = Settings(model=str(model(tmp_path / "m.onnx")), runtime="onnxruntime", seconds=0.1, plain=True)
    with pytest.raises(ProofError, match="another picture"):
        measure_end_to_end([folder], settings, arguments="", progress=lambda text, part: None)


def test_the_script_says_what_it_cannot_do(tmp_path: Path) -> None:
    write_checkpoint(model(tmp_path / "m.onnx"), tmp_path / "c.pth")
    script = PlainScript(tmp_path / "c.pth", threads=1)
    (tmp_path / "text.png").write_bytes(b"no image")
    with pytest.raises(ImageFileError, match=r"text\.png"):
        script.picture(tmp_path / "text.png", tmp_path / "out.png")
    (tmp_path / "f.onnx").write_bytes(features_model(plain_model(spec_of(blocks=1))).SerializeToString())
    with pytest.raises(FoldError):
        write_checkpoint(tmp_path / "f.onnx", tmp_path / "f.pth")


def test_a_file_that_fails_is_named(folder: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(model(tmp_path / "m.onnx"), runtime="onnxruntime")
    jobs = [Job(path, tmp_path / f"out-{path.name}") for path in sorted(folder.iterdir())]
    work = picture_work(upscaler, jobs, None, Workers(load=1, process=1, save=1))
    jobs[1].source.write_bytes(b"no image")
    with pytest.raises(ImageFileError, match=r"b\.jpg"):
        work.ways[OURS].run()
    with pytest.raises(ImageFileError, match=r"b\.jpg"):
        work.ways[APART].run()


def test_bad_requests(folder: Path, tmp_path: Path) -> None:
    for files, settings, error in (
        ([], Settings(), UsageError),
        ([folder], Settings(model="photo-x9"), UsageError),
        ([folder], Settings(runtime="abacus"), UsageError),
        ([tmp_path / "none.png"], Settings(runtime="onnxruntime"), RepsrError),
    ):
        with pytest.raises(error):
            measure_end_to_end(files, settings, arguments="", progress=lambda text, part: None)
