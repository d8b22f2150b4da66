"""Whole steps in every io give one picture; a wrong one has no speed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from repsr_deploy.bench.kernels.steps import BY, Forms, export_forms, measure_steps, read_network
from repsr_deploy.bench.timing import time_side_by_side
from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes import Candidate
from tests.bench.families import model

QUICK = partial(time_side_by_side, seconds=0.0, warmup_s=0.0)


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Forms:
    folder = tmp_path_factory.mktemp("forms")
    return export_forms(read_network(str(model(folder / "m.onnx")), folder), lambda _: None)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_io(forms: Forms, runtime: str) -> None:
    rows = measure_steps(forms, 13, 18, Candidate(runtime, "fp32"), where="here", threads=1, timer=QUICK)
    assert [row.key["by"] for row in rows] == list(BY.values())
    assert {row.key["data"].split(", ")[1] for row in rows} == {f"{runtime} in fp32"}
    for row in rows:
        assert row.timing is not None, row.failure
        assert row.figures["times_first"] is not None
        assert row.figures["verified_db"] is not None


def test_another_skip_is_found(forms: Forms, tmp_path: Path) -> None:
    import onnx

    wrong = onnx.load(forms.files["features"])
    (skip,) = (entry for entry in wrong.metadata_props if entry.key == "repsr.skip")
    assert skip.value == '"nearest"'
    skip.value = '"bilinear"'
    (tmp_path / "wrong.onnx").write_bytes(wrong.SerializeToString())
    changed = replace(forms, files={**forms.files, "features": tmp_path / "wrong.onnx"})
    features, image, _ = measure_steps(
        changed, 13, 18, Candidate("onnxruntime", "fp32"), where="here", threads=1, timer=QUICK
    )
    assert "fp32 must have" in features.failure
    assert image.timing is not None


def test_models_of_other_forms_are_refused(tmp_path: Path) -> None:
    half = model(tmp_path / "half.onnx", precision="fp16")
    with pytest.raises(UsageError, match="fp16 of io float, rgb; expected fp32 of io float for RGB"):
        read_network(str(half), tmp_path)
