"""Shapes from text, held against the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec.shapes import Input, Profile, read_input, read_profile, shape_flags
from repsr_deploy.errors import ModelFileError, UsageError
from tests.bench.trtexec.stand_in import write_model

FLOAT = Input("input", (None, 3, None, None))
IMAGE = Input("input", (None, None, None, 3))


def test_input_of_a_model(tmp_path: Path) -> None:
    assert read_input(write_model(tmp_path / "m.onnx")) == FLOAT
    assert read_input(write_model(tmp_path / "i.onnx", ("N", "H", "W", 3), ("image:0",))) == Input(
        "image:0", IMAGE.sides
    )
    assert read_input(write_model(tmp_path / "f.onnx", (1, 3, 24, 31))).sides == (1, 3, 24, 31)


def test_files_that_are_no_model_of_one_image(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        read_input(tmp_path / "missing.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08not onnx")
    with pytest.raises(ModelFileError, match="is not a complete ONNX model"):
        read_input(broken)
    with pytest.raises(ModelFileError, match=r"has 2 inputs \(a, b\)"):
        read_input(write_model(tmp_path / "two.onnx", inputs=("a", "b")))
    with pytest.raises(ModelFileError, match=r"has 0 inputs \(none\)"):
        read_input(write_model(tmp_path / "none.onnx", inputs=()))
    with pytest.raises(ModelFileError, match=r"is 3x\?x\?; expected four sides"):
        read_input(write_model(tmp_path / "three.onnx", sides=(3, "H", "W")))


def test_whole_shapes() -> None:
    profile = read_profile(FLOAT, "1x3x64x65:2x3x360x640:4x3x1080x1920", None)
    assert profile == Profile((1, 3, 64, 65), (2, 3, 360, 640), (4, 3, 1080, 1920), (2, 3, 360, 640))
    assert profile is not None
    assert shape_flags("input", profile) == [
        "--minShapes=input:1x3x64x65",
        "--optShapes=input:2x3x360x640",
        "--maxShapes=input:4x3x1080x1920",
        "--shapes=input:2x3x360x640",
    ]


def test_height_and_width_go_where_the_model_has_them() -> None:
    for source, smallest, timed in (
        (FLOAT, (1, 3, 64, 65), (1, 3, 720, 1280)),
        (IMAGE, (1, 64, 65, 3), (1, 720, 1280, 3)),
        (Input("y", (None, 1, None, None)), (1, 1, 64, 65), (1, 1, 720, 1280)),
        (Input("features", (None, 48, None, None)), (1, 48, 64, 65), (1, 48, 720, 1280)),
    ):
        profile = read_profile(source, "64x65:360x640:1080x1920", "720x1280")
        assert profile is not None
        assert profile.smallest == smallest
        assert profile.timed == timed


def test_one_shape_stands_for_all() -> None:
    profile = read_profile(FLOAT, "31x17", None)
    assert profile == Profile((1, 3, 31, 17), (1, 3, 31, 17), (1, 3, 31, 17), (1, 3, 31, 17))


def test_a_fixed_model_has_no_profile() -> None:
    fixed = Input("input", (1, 3, 24, 31))
    assert read_profile(fixed, None, None) is None
    assert read_profile(fixed, "24x31", None) is None
    assert read_profile(Input("input", (1, 24, 31, 3)), "1x3x24x31", None) is None
    with pytest.raises(UsageError, match="shape 1x3x24x32 does not fit the model's input input, 1x3x24x31"):
        read_profile(fixed, "24x32", None)


@pytest.mark.parametrize(
    ("shapes", "timed", "message"),
    [
        (None, None, r"takes any \?x3x\?x\? and no shapes are given"),
        ("8x8:9x9", None, "has 2 parts"),
        ("8by8", None, "has the part '8by8'"),
        ("0x8", None, "has a side below 1"),
        ("9x9:8x8:10x10", None, "do not grow"),
        ("8x8:9x9:10x10", "11x9", "the shape to time, 1x11x9, is outside 1x8x8 to 1x10x10"),
        ("8x8:9x9:10x10", "7x9", "is outside"),
        ("8x8:9x9:10x10", "8x8:9x9:10x10", "is several; expected one"),
        ("8x8:9x9:10x10", "", "has the part ''"),
    ],
)
def test_wrong_shapes_are_named(shapes: str | None, timed: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_profile(FLOAT, shapes, timed)


def test_a_batch_that_the_model_does_not_take() -> None:
    with pytest.raises(UsageError, match=r"shape 1x3x8x8 does not fit the model's input y, 4x3x\?x\?"):
        read_profile(Input("y", (4, 3, None, None)), "8x8", None)
