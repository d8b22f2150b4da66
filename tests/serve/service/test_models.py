"""Which models a service has, under which names, and which one an order means."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import onnx
import pytest

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.weights import find_model
from repsr_serve.metrics import Metrics
from repsr_serve.models import ServedModel, close_models, open_models, pick, served_names
from repsr_serve.pictures import Order
from repsr_serve.problems import Problem
from tests.runtimes.models import features_model, plain_model, spec_of, with_info
from tests.serve.service.running_service import settings


def test_names_are_bundled_ones_or_stems(tmp_path: Path) -> None:
    mine = tmp_path / "mine.v2.onnx"
    shutil.copy(find_model("photo-x2"), mine)
    assert served_names(["photo-x4", str(mine)]) == {"photo-x4": find_model("photo-x4"), "mine.v2": mine}


def test_two_of_one_name_and_none_are_refused(tmp_path: Path) -> None:
    twin = tmp_path / "photo-x2.onnx"
    shutil.copy(find_model("photo-x2"), twin)
    with pytest.raises(UsageError, match=f"'photo-x2': .*photo-x2.onnx and {twin}"):
        served_names(["photo-x2", str(twin)])
    with pytest.raises(UsageError, match="no model 'photo-x3'"):
        served_names(["photo-x3"])


class Scaled:
    """As much of a served model as `pick` looks at."""

    def __init__(self, scale: int) -> None:
        self.info = self
        self.scale = scale


def models_of(**scales: int) -> Mapping[str, ServedModel]:
    return cast("Mapping[str, ServedModel]", {name: Scaled(scale) for name, scale in scales.items()})


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, "three"),
        ({"factor": 1.5}, "two"),
        ({"factor": 2}, "two"),
        ({"factor": 2.01}, "three"),
        ({"factor": 3.5}, "four"),
        ({"factor": 8}, "four"),
        ({"factor": 1.5, "model": "four"}, "four"),
    ],
)
def test_the_smallest_scale_that_reaches_the_factor(order: dict[str, Any], expected: str) -> None:
    models = models_of(three=3, four=4, two=2, second=2)
    assert pick(models, Order(**order)) is models[expected]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(Problem) as caught:
        pick(models_of(a=2, b=4), Order(model="x\n" * 200))
    assert caught.value.cause == "not-found"
    assert caught.value.extra == {"models": ["a", "b"]}
    assert caught.value.detail.endswith("expected one of a, b.")
    assert len(caught.value.detail) < 300
    assert "\n" not in caught.value.detail


def test_features_are_finished(tmp_path: Path) -> None:
    onnx.save(features_model(plain_model(spec_of())), tmp_path / "net.onnx")
    models = open_models(settings(model=(str(tmp_path / "net.onnx"),)), Metrics())
    try:
        assert models["net"].info.io == "float"
        assert models["net"].batcher.runtime is models["net"].runtime
    finally:
        close_models(models)


def test_what_cannot_be_opened_leaves_no_batcher(tmp_path: Path) -> None:
    before = threading.active_count()
    other = tmp_path / "other.onnx"
    onnx.save(with_info(plain_model(spec_of()), range=(0, 255)), other)
    with pytest.raises(ModelFileError, match=r"\(0.*255"):
        open_models(settings(model=("photo-x2", str(other))), Metrics())
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"bad\.onnx is not"):
        open_models(settings(model=("photo-x2", str(tmp_path / "bad.onnx"))), Metrics())
    assert threading.active_count() == before
