"""The table of backends: names, candidates, and refusals with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from repsr_deploy.errors import RuntimeUnavailableError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import BACKENDS, Candidate, candidates, open_runtime, unavailable
from tests.runtimes.models import plain_model, spec_of

NAMES = [
    "onnxruntime", "openvino", "native", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx",
    "tensorrt", "tensorrt-rtx",
]  # fmt: skip


def info(precision: Precision) -> ModelInfo:
    return ModelInfo(name="m", scale=2, halo=4, precision=precision)


def test_names() -> None:
    assert list(BACKENDS) == NAMES


def test_a_candidate_is_what_can_be_opened_here() -> None:
    for precision in get_args(Precision):
        found = candidates(info(precision))
        assert len(found) == len(set(found))
        assert not {item.runtime for item in found} & set(unavailable())
    assert Candidate("onnxruntime", "fp32") in candidates(info("fp32"))
    assert Candidate("onnxruntime", "fp32") in candidates(info("fp16"))
    assert Candidate("onnxruntime", "int8") in candidates(info("int8"))
    assert not [item for item in candidates(info("bf16")) if item.runtime == "onnxruntime"]


@pytest.mark.parametrize("name", [name for name in NAMES if name in unavailable()])
def test_what_is_missing_is_named_with_the_way_out(name: str) -> None:
    reason = unavailable()[name]
    assert reason.startswith(f"runtime {name} cannot be used here")
    assert "pip install" in reason or "take runtime" in reason
    with pytest.raises(RuntimeUnavailableError) as raised:
        open_runtime(plain_model(spec_of()).SerializeToString(), name)
    assert str(raised.value) == reason


def test_requests_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'torch'; expected auto or one of onnxruntime, openvino, "):
        open_runtime(b"", "torch")
    for runtime in ("auto", "onnxruntime"):
        with pytest.raises(UsageError, match="threads is 0; expected at least 1"):
            open_runtime(b"", runtime, threads=0)
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"runtime openvino does not open .*m.engine; expected one of tensorrt, "):
        open_runtime(engine, "openvino")
