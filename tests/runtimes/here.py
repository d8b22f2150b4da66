"""The runtimes of this machine, and what each of them can compute: the same test cases for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import onnx
import pytest

from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import ON_PROCESSORS, Candidate, candidates
from tests.runtimes.models import half_model, int8_model

STORED: dict[Precision, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fp32": lambda model: model,
    "fp16": lambda model: half_model(model, "fp16"),
    "bf16": lambda model: half_model(model, "bf16"),
    "int8": int8_model,
}
"""How a network of fp32 gets a precision."""


def candidates_for(stored: Precision) -> list[Candidate]:
    """What can run a model of this precision here."""
    return candidates(ModelInfo(name="m", scale=2, halo=4, precision=stored))


def every_case(*precisions: Precision) -> list[Any]:
    """(stored precision, candidate) for parametrised tests; those that need a GPU are marked."""
    return [
        pytest.param(
            stored,
            candidate,
            id=f"{stored}-{candidate.runtime}-{candidate.precision}",
            marks=() if candidate.runtime in ON_PROCESSORS else pytest.mark.gpu,
        )
        for stored in precisions or get_args(Precision)
        for candidate in candidates_for(stored)
    ]


def every_runtime() -> list[Any]:
    """Names of the runtimes that take a model of fp32 here."""
    names = dict.fromkeys(candidate.runtime for candidate in candidates_for("fp32"))
    return [pytest.param(name, marks=() if name in ON_PROCESSORS else pytest.mark.gpu) for name in names]


def assert_same_pictures(actual: Any, expected: Any, *, exact: bool) -> None:
    """8-bit pictures are the same, or where that cannot be, but for samples between two levels.

    Args:
        exact: False where a factor of 255 is merged into what comes before, as in the native engine's way from bytes to
            bytes and in int8 networks, so that a sample is rounded otherwise.
    """
    if exact:
        np.testing.assert_array_equal(actual, expected)
    else:
        assert np.abs(actual.astype(int) - expected).max() <= 1
        assert (actual != expected).mean() < 1e-4
