"""What is known of a picture before it is decoded: sizes, passes, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import Runtime, open_runtime
from repsr_serve.codec import Header
from repsr_serve.pictures import Order
from repsr_serve.plan import Plan, plan_picture
from repsr_serve.problems import Problem
from tests.runtimes.models import plain_model, spec_of

INFO = ModelInfo(name="net", scale=2, halo=4)
HEADER = Header(format="png", width=30, height=20, channels=3, sample_bytes=1)


def planned(header: Header = HEADER, info: ModelInfo = INFO, *, max_pixels: int = 10**9, **order: Any) -> Plan:
    return plan_picture(header, Order(**order), info, max_pixels=max_pixels, max_factor=8)


def refusal(*given: Any, **order: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        planned(*given, **order)
    return caught.value


@pytest.fixture(scope="module")
def runtimes() -> dict[int, Runtime]:
    """By scale."""
    models = {scale: plain_model(spec_of(scale, 1, 4)).SerializeToString() for scale in (1, 2, 3)}
    return {scale: open_runtime(model, "onnxruntime", threads=1) for scale, model in models.items()}


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("factor", [None, 0.01, 0.5, 1, 1.37, 2, 2.5, 3, 4, 4.1, 7.999])
def test_sizes_and_passes_are_those_of_the_upscaler(
    runtimes: dict[int, Runtime], scale: int, factor: float | None
) -> None:
    height, width = (int(side) for side in np.random.default_rng().integers(1, 14, 2))
    runtime = runtimes[scale]
    totals: list[int] = []
    made = Upscaler(runtime).upscale(
        np.zeros((height, width, 3), np.uint8), factor=factor, progress=lambda _, total: totals.append(total)
    )
    plan = planned(replace(HEADER, width=width, height=height), runtime.info, factor=factor)
    assert (*reversed(plan.size), 3) == made.shape
    assert plan.work_pixels == totals[-1]
    assert plan.network_pixels == plan.passes[-1] * scale**2
    assert plan.factor == (scale if factor is None else factor)


def test_the_format_is_the_source_s_unless_asked_for() -> None:
    assert planned().format == "png"
    assert planned(replace(HEADER, format="webp")).format == "webp"
    assert planned(format="jpeg").format == "jpeg"


def test_too_many_pixels_are_refused_with_both_figures() -> None:
    planned(max_pixels=600)
    problem = refusal(max_pixels=599)
    assert problem.cause == "too-many-pixels"
    assert problem.extra == {"pixels": 600, "max_pixels": 599}
    assert "30 x 20 = 600" in problem.detail
    assert "599" in problem.detail


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"factor": 0.0}, "factor is 0;"),
        ({"factor": -1.0}, "factor is -1;"),
        ({"factor": math.nan}, "factor is nan;"),
        ({"factor": math.inf}, "factor is inf;"),
        ({"factor": 8.001}, "8.001; expected at most 8 "),
        ({"quality": 0}, "0; expected 1 to 100"),
        ({"quality": 101}, "101; expected 1 to 100"),
    ],
)
def test_impossible_orders_are_named(order: dict[str, Any], said: str) -> None:
    problem = refusal(**order)
    assert problem.cause == "parameters"
    assert said in problem.detail


@pytest.mark.parametrize(("form", "side"), [("png", 10**6), ("jpeg", 65500), ("webp", 16383)])
def test_results_that_a_format_cannot_hold_are_refused_before_any_work(form: Any, side: int) -> None:
    fitting = replace(HEADER, width=1, height=side // 2)
    planned(fitting, format=form)
    problem = refusal(replace(fitting, height=side // 2 + 1), format=form)
    assert problem.cause == "parameters"
    assert str(side) in problem.detail
    assert form.upper() in problem.detail


def test_16_bits_are_refused_for_a_model_of_8() -> None:
    deep = replace(HEADER, sample_bytes=2)
    planned(deep)
    assert refusal(deep, replace(INFO, io="image")).cause == "parameters"
    planned(HEADER, replace(INFO, io="image"))
