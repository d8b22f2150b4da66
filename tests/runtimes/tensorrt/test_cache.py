"""Engines are built once, named by what they are, and built again when they are not whole."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.errors import RepsrError
from repsr_deploy.runtimes.tensorrt.record import record_path
from repsr_kernels.cache_dir import locked
from tests.runtimes.tensorrt.conftest import Worker, environment
from tests.runtimes.tensorrt.models import model_info, write_external, write_model

SHAPES = "8x8:36x64:72x128"


@pytest.mark.tensorrt
def test_an_engine_is_built_once_and_its_name_says_what_it_is(worker: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, "fp16", "image", seed=3)
    first = worker.do("cached", model=model, shapes=SHAPES)
    again = worker.do("cached", model=model, shapes=SHAPES)
    assert (first["reused"], again["reused"]) == (False, True)
    assert again["record"] == first["record"]
    program = {"tensorrt": "trt11.4.0.106_unknown-gpu", "tensorrt-rtx": "trtrtx1.7.1.116_portable"}[worker.flavour]
    assert re.fullmatch(
        rf"fp16-image_fp16_image_1x8x8-1x36x64-1x72x128_{program}_[0-9a-f]{{8}}\.engine", Path(first["path"]).name
    )
    assert json.loads(record_path(Path(first["path"])).read_text()) == first["record"]


@pytest.mark.tensorrt
def test_whatever_changes_the_engine_changes_its_file(rtx: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=4)
    renamed = tmp_path / "renamed.onnx"
    renamed.write_bytes(model.read_bytes())
    variants: list[tuple[Path, dict[str, Any]]] = [
        (model, {}),
        (model, {"level": 2}),
        (model, {"tf32": True}),
        (model, {"workspace_bytes": 1 << 30}),
        (model, {"shapes": "8x8:36x64:72x129"}),
        (model, {"compute_capabilities": ["8.6", "8.9"]}),
        (renamed, {}),
        (write_external(tmp_path, seed=4), {}),
        (write_external(tmp_path, seed=5), {}),
    ]
    paths: list[str] = []
    for path, options in variants[:-2]:
        paths.append(rtx.do("cached", model=path, **{"shapes": SHAPES, **options})["path"])
    for seed in (4, 5):
        paths.append(rtx.do("cached", model=write_external(tmp_path, seed), shapes=SHAPES)["path"])
    assert len(set(paths)) == len(variants)
    assert "_sm86-sm89_" in paths[5]


def _cut(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-100])


def _flip(engine: Path) -> None:
    content = bytearray(engine.read_bytes())
    content[len(content) // 2] ^= 1
    engine.write_bytes(content)


def _no_record(engine: Path) -> None:
    record_path(engine).unlink()


def _no_engine(engine: Path) -> None:
    engine.unlink()


def _junk_record(engine: Path) -> None:
    record_path(engine).write_text("[]")


def _other_recipe(engine: Path) -> None:
    record = json.loads(record_path(engine).read_text())
    record["recipe"]["model_sha256"] = "0" * 64
    record_path(engine).write_text(json.dumps(record))


@pytest.mark.tensorrt
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "is cut short or corrupted: it has"),
        (_flip, "is corrupted: its SHA-256 is not"),
        (_no_record, "has no .*json beside it"),
        (_no_engine, "is no file"),
        (_junk_record, "json, which is no record of an engine"),
        (_other_recipe, "was built from something else"),
    ],
)
def test_a_damaged_engine_is_built_again_and_said_so(rtx: Worker, damage: Any, message: str, tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=6)
    first = rtx.do("cached", model=model, shapes=SHAPES)
    damage(Path(first["path"]))
    again = rtx.do("cached", model=model, shapes=SHAPES)
    assert not again["reused"]
    assert len(rtx.warnings) == 1
    assert re.search(message, rtx.warnings[0])
    assert "building it again" in rtx.warnings[0]
    assert rtx.do("cached", model=model, shapes=SHAPES)["reused"]
    assert rtx.warnings == []


@pytest.mark.tensorrt
def test_a_failed_build_leaves_nothing_in_the_cache(rtx: Worker, engine_cache: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path, "fp16", seed=7, info=model_info("fp32"))
    renamed = model.rename(tmp_path / "mislabelled.onnx")
    with pytest.raises(RepsrError, match="number"):
        rtx.do("cached", model=renamed, shapes=SHAPES)
    assert list((engine_cache / "engines").glob("mislabelled*")) == []


@pytest.fixture
def second(engine_cache: Path) -> Generator[Worker]:
    worker = Worker("tensorrt-rtx", environment("tensorrt-rtx", engine_cache))
    yield worker
    worker.close()


@pytest.mark.tensorrt
def test_of_two_processes_one_builds_and_the_other_waits(rtx: Worker, second: Worker, tmp_path: Path) -> None:
    model = write_model(tmp_path, seed=8)
    second.do("reason")  # it is up
    rtx.start("slow", model=model)
    rtx.wait_for("begun")
    other = second.do("cached", model=model)
    one = rtx.answer()
    assert (one["reused"], other["reused"]) == (False, True)
    assert second.warnings == [f"another process is building {Path(one['path']).name}; waiting for it"]


@pytest.mark.tensorrt
def test_the_timing_cache_is_kept_and_a_broken_one_is_replaced(eleven: Worker, tmp_path: Path) -> None:
    model, cache = write_model(tmp_path), tmp_path / "kernels.timing"
    eleven.do("build", model=model, out=tmp_path / "made.engine", timing_cache=cache)
    content = cache.read_bytes()
    assert len(content) > 100
    for known in (content, b"rubbish" * 30):
        cache.write_bytes(known)
        eleven.do("build", model=model, out=tmp_path / "made.engine", timing_cache=cache)
        assert eleven.warnings == []
        assert len(cache.read_bytes()) == len(content)


def test_a_lock_shuts_out_and_lets_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with locked(tmp_path / "sub" / "x.engine"):
            pass
    assert caplog.text == ""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RepsrError, match="set REPSR_CACHE to a writable folder"),
        locked(tmp_path / "file" / "x.engine"),
    ):
        pass
