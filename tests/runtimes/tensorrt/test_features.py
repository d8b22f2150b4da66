"""Engines of io `features`: the largest tensor there is leaves them in the type in which they compute."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import ml_dtypes
import numpy as np
import pytest

from repsr_deploy.cli.fuse import main
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes.tensorrt.engine import widened
from tests.runtimes.tensorrt.conftest import Worker
from tests.runtimes.tensorrt.models import write_model

GIVEN: dict[Precision, str] = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "FLOAT"}


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", get_args(Precision))
def test_features_are_not_widened(worker: Worker, precision: Precision, tmp_path: Path) -> None:
    types = worker.do("tensor_types", model=write_model(tmp_path, precision, "features"))
    assert types == [["input", "FLOAT"], ["output", GIVEN[precision]]]
    worker.do("build", model=tmp_path / f"{precision}-features.onnx", out=tmp_path / "made.engine")


@pytest.mark.tensorrt
def test_pictures_are(worker: Worker, tmp_path: Path) -> None:
    types = worker.do("tensor_types", model=write_model(tmp_path, "fp16", "float"))
    assert types == [["input", "FLOAT"], ["output", "FLOAT"]]


@pytest.mark.tensorrt
def test_what_the_command_exports(rtx: Worker, tmp_path: Path) -> None:
    model = tmp_path / "photo-x2.onnx"
    assert main(["export", "photo-x2", "--out", str(model), "--precision", "fp16", "--io", "features"]) == 0
    assert rtx.do("tensor_types", model=model) == [["input", "FLOAT"], ["output", "HALF"]]


def test_widened_to_the_same_numbers() -> None:
    numbers = np.random.default_rng(0).normal(0, 1000, (2, 12, 3, 5)).astype(np.float32)
    numbers.flat[:4] = np.inf, -np.inf, np.nan, -0.0
    for short in (numbers.astype(np.float16), numbers.astype(ml_dtypes.bfloat16)):
        stored = short if short.dtype == np.float16 else short.view(np.uint16)
        made = widened(stored)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, short.astype(np.float32))
    for same in (numbers, np.zeros((1, 2, 2, 3), np.uint8)):
        assert widened(same) is same
