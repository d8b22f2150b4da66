"""The comparison of two runs sees what differs, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from repsr_kernels.operations import FusedUpsample
from repsr_kernels.reference.samples import store
from repsr_kernels.tensors import ITEM_BYTES, Tensor, Type
from tests.kernels.comparison import assert_same, difference
from tests.kernels.random_operations import Bytes, Case, Memory

SHAPE = (2, 3, 5, 7)


def _case(kind: Type) -> tuple[Case, Tensor, dict[str, Bytes]]:
    """A case, its result, and what a run of it has written: numbers between 0 and 1, or codes."""
    memory = Memory(np.random.default_rng(1))
    features = memory.place("features", "fp32", SHAPE, dense=True)
    out = memory.place("out", kind, SHAPE)
    operation = FusedUpsample(features=features, out=out, scale=1, nonfinite=memory.counter("nonfinite"))
    case = memory.case(operation, written=("out", "nonfinite"))
    store(np.full(SHAPE, 100 if kind == "uint8" else 0.5, np.float32), out)
    return case, out, {name: case.buffers[name].copy() for name in case.before}


def _element(case: Case, out: Tensor, run: dict[str, Bytes]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The bytes of element (1, 2, 3, 4) within a run's."""
    start = case.buffers["out"].__array_interface__["data"][0]
    at = out.address - start + ITEM_BYTES[out.type] * sum(i * s for i, s in zip((1, 2, 3, 4), out.strides, strict=True))
    return run["out"][at : at + ITEM_BYTES[out.type]]


@pytest.mark.parametrize("kind", ["uint8", "fp32", "fp16", "bf16"])
def test_equal_runs_are_the_same(kind: Type) -> None:
    case, _, run = _case(kind)
    assert difference(case, run, {name: content.copy() for name, content in run.items()}) == ""


@pytest.mark.parametrize("kind", ["uint8", "fp32", "fp16", "bf16"])
def test_one_step_is_seen_and_may_be_allowed(kind: Type) -> None:
    case, out, run = _case(kind)
    other = {name: content.copy() for name, content in run.items()}
    _element(case, out, other)[0] += 1
    assert "1 of 210 elements differ, by up to 1; [n, c, y, x] = (1, 2, 3, 4)" in difference(case, run, other)
    assert difference(case, run, other, ulps=1) == ""
    _element(case, out, other)[0] += 1
    assert "by up to 2" in difference(case, run, other, ulps=1)
    with pytest.raises(AssertionError, match="by up to 2"):
        assert_same(case, run, other, ulps=1)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
def test_a_missing_number_equals_only_another(kind: Type) -> None:
    case, out, run = _case(kind)
    other = {name: content.copy() for name, content in run.items()}
    _element(case, out, other)[-2:] = (0xC1, 0x7F) if kind != "fp16" else (0x01, 0x7E)
    assert "nan" in difference(case, run, other, ulps=1000) or kind == "bf16"
    assert difference(case, run, other, ulps=1000) != ""
    assert difference(case, other, run, ulps=1000) != ""
    _element(case, out, run)[-2:] = (0xD1, 0xFF) if kind != "fp16" else (0x31, 0xFE)
    assert difference(case, run, other) == ""


def test_the_sign_of_zero_is_seen() -> None:
    case, out, run = _case("fp32")
    _element(case, out, run)[...] = 0
    other = {name: content.copy() for name, content in run.items()}
    _element(case, out, other)[-1] = 0x80
    assert "-0.0" in difference(case, run, other)


def test_a_byte_around_the_result_is_seen() -> None:
    case, out, run = _case("uint8")
    for index in (0, len(run["out"]) - 1):
        other = {name: content.copy() for name, content in run.items()}
        other["out"][index] ^= 1
        where = index - (out.address - case.buffers["out"].__array_interface__["data"][0])
        assert f"{where} bytes behind the first element" in difference(case, run, other, ulps=255)


def test_the_counter_and_what_lies_around_it_are_seen() -> None:
    case, _, run = _case("uint8")
    for index in (0, 8, 23):
        other = {name: content.copy() for name, content in run.items()}
        other["nonfinite"][index] ^= 1
        assert difference(case, run, other).startswith("nonfinite: ")
