"""One family at one shape: wrong pictures and failures have no speed, whatever happens to them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.bench.contestant import PYTORCH, Family
from repsr_deploy.bench.memory import how_it_ended, try_alone
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.sources import read_source
from repsr_deploy.bench.turns import Conditions, Entry, fitting_together, measure_family
from repsr_deploy.errors import ModelFileError
from tests.bench.families import checkpoint, contestant, family, model

CONDITIONS = Conditions(count=2, height=24, width=32, threads=1, seconds=0.05)


def measured(members: Family, conditions: Conditions = CONDITIONS) -> dict[str, Row]:
    rows, _ = measure_family(members, conditions, lambda text, part: None)
    return {row.key["model"]: row for row in rows}


def test_figures_follow_from_the_times(tmp_path: Path) -> None:
    file = model(tmp_path / "right.onnx")
    row = measured(family(file, contestant(file)))["right"]
    assert row.timing is not None
    assert len(row.timing.times_s) >= 5
    per_s = 2 / row.timing.median_s
    assert row.figures["images_per_s"] == pytest.approx(per_s)
    assert row.figures["megapixels_per_s"] == pytest.approx(per_s * 24 * 32 * 4 / 1e6)
    assert row.figures["macs_per_s"] == pytest.approx(per_s * 24 * 32 * 1000)
    assert row.figures["verified_db"] == math.inf
    assert row.key["input"] == "32x24"
    assert row.key["batch"] == "2"
    resident = row.figures["resident_bytes"]
    assert resident is None or 10e6 < resident < 300e6


def test_a_planted_wrong_model_has_no_speed(tmp_path: Path) -> None:
    right, wrong = model(tmp_path / "right.onnx"), model(tmp_path / "wrong.onnx", seed=1)
    rows = measured(family(right, contestant(right), contestant(wrong)))
    assert rows["right"].timing is not None
    assert rows["wrong"].timing is None
    assert "to the fp32 reference; fp32 must have 70" in rows["wrong"].failure
    decibels = rows["wrong"].figures["verified_db"]
    assert decibels is not None
    assert decibels < 40
    assert "images_per_s" not in rows["wrong"].figures


def test_a_slightly_wrong_model_passes_as_int8_alone(tmp_path: Path) -> None:
    import onnx

    right = model(tmp_path / "right.onnx")
    proto = onnx.load(right)
    tail = next(item for item in proto.graph.initializer if item.name.startswith("tail") and len(item.dims) == 1)
    values = onnx.numpy_helper.to_array(tail) + np.float32(0.004)
    tail.CopyFrom(onnx.numpy_helper.from_array(values, tail.name))
    onnx.save(proto, tmp_path / "off.onnx")
    off = contestant(tmp_path / "off.onnx")
    names = ("fp32", "fp16", "bf16", "int8")
    rows = measured(
        family(right, *(contestant(off.file, model=name, stored=name) for name in names)),
    )
    assert [name for name in names if rows[name].timing] == ["int8"]
    assert rows["int8"].figures["verified_db"] == pytest.approx(-20 * math.log10(0.004), abs=1.5)


def test_failures_are_rows(tmp_path: Path) -> None:
    right, cut = model(tmp_path / "right.onnx"), tmp_path / "cut.onnx"
    cut.write_bytes(right.read_bytes()[:500])
    members = family(
        right, contestant(right), contestant(cut), contestant(right, model="elsewhere", runtime="tensorrt")
    )
    rows = measured(members)
    assert rows["right"].timing is not None
    assert "is not a complete ONNX model" in rows["cut"].failure
    assert rows["elsewhere"].failure
    assert rows["elsewhere"].figures["verified_db"] is None


def test_too_large_a_picture_is_a_row(tmp_path: Path) -> None:
    file = model(tmp_path / "right.onnx")
    huge = Conditions(count=1, height=10**7, width=10**7, threads=1, seconds=0.05)
    assert measured(family(file, contestant(file)), huge)["right"].failure.startswith("not enough memory")


def test_pytorch_takes_part_with_branches(tmp_path: Path) -> None:
    source = read_source(str(checkpoint(tmp_path / "c.safetensors")), tmp_path)
    branches = contestant(tmp_path / "c.safetensors", form="branches", runtime=PYTORCH)
    row = measured(family(source.file, branches))["c"]
    decibels, macs_per_s, images_per_s = (row.figures[name] for name in ("verified_db", "macs_per_s", "images_per_s"))
    assert decibels is not None
    assert decibels > 100
    assert images_per_s is not None
    assert macs_per_s == pytest.approx(3000 * 24 * 32 * images_per_s)


def test_who_fails_while_being_timed_has_no_speed() -> None:
    entry = Entry(contestant(Path("m.onnx")))
    runs = 0

    def run() -> int:
        nonlocal runs
        runs += 1
        if runs == 3:
            raise ModelFileError("the card fell off")
        return runs

    assert [entry.attempt(run) for _ in range(5)] == [1, 2, None, None, None]
    assert runs == 3
    assert entry.failure == "the card fell off"
    row = entry.row(family(Path("m.onnx")), CONDITIONS)
    assert (row.timing, row.failure) == (None, "the card fell off")


def test_groups_fit_in_memory() -> None:
    entries = [Entry(contestant(Path(f"{size}.onnx")), resident_bytes=size) for size in (300, 400, 300, 900, 100)]
    sizes = [[entry.resident_bytes for entry in heat] for heat in fitting_together(entries, 1000)]
    assert sizes == [[300, 400], [300], [900], [100]]
    assert fitting_together(entries, None) == [entries]
    assert fitting_together([Entry(contestant(Path("m.onnx")))], 0) != []


def test_memory_grows_with_the_picture(tmp_path: Path) -> None:
    one = contestant(model(tmp_path / "m.onnx"))
    small, large = (try_alone(one, 1, side, side, 1).resident_bytes for side in (16, 700))
    if small is None or large is None:
        pytest.skip("memory is not known here")
    output_bytes = 3 * (2 * 700) ** 2 * 4
    assert small + output_bytes < large < small + 40 * output_bytes


def test_how_a_process_ended() -> None:
    assert how_it_ended(-9, "") == "its process was ended by SIGKILL, as Linux does when memory is short"
    assert how_it_ended(-11, "") == "its process was ended by SIGSEGV"
    assert how_it_ended(1, "Traceback\n  File\nValueError: x\n") == "its process failed: ValueError: x"
    assert how_it_ended(3, "") == "its process failed: without a word"
