"""What int8 means."""

from __future__ import annotations

import numpy as np
import pytest

from repsr_deploy.export.int8.plan import (
    LEVELS,
    QuantLayer,
    QuantPlan,
    input_scale,
    quantize_weights,
    rounded_weights,
    weight_scales,
)


def layer(name: str = "conv", source: str = "x", scale: float = 0.5) -> QuantLayer:
    return QuantLayer(name=name, input=source, weight=f"{name}.weight", input_scale=scale)


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (7, 1, 1, 1), (2, 9, 5, 3)])
def test_weights_are_off_by_half_a_step_at_most(shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    steps, scales = quantize_weights(weights)
    assert steps.dtype == np.int8
    assert np.array_equal(np.abs(steps.astype(int)).reshape(len(steps), -1).max(axis=1), [LEVELS] * len(steps))
    error = np.abs(rounded_weights(weights) - weights) / scales[:, None, None, None]
    assert 0.3 < error.max() <= 0.5 + 1e-5 or weights[0].size == 1


def test_each_channel_has_a_scale_of_its_own() -> None:
    weights = np.array([[[[1.27]]], [[[-254.0]]], [[[0.0]]]], np.float32)
    np.testing.assert_allclose(weight_scales(weights), [0.01, 2, 1], rtol=1e-6)
    assert quantize_weights(weights)[0].ravel().tolist() == [127, -127, 0]


def test_halves_are_rounded_to_even_as_onnx_does() -> None:
    weights = np.array([[[[127.0, 0.5, 1.5, -2.5]]]], np.float32)
    assert quantize_weights(weights)[0].ravel().tolist() == [127, 0, 2, -2]


def test_scales_of_inputs_are_float32_and_never_zero() -> None:
    assert input_scale(0) == 1
    assert float(np.float32(input_scale(0.1))) == input_scale(0.1) == pytest.approx(0.1 / 127)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), 0.1])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"conv: scale is .* expected a positive float32 number"):
        layer(scale=scale)


def test_one_value_has_one_scale() -> None:
    assert len(QuantPlan(layers=(layer("a"), layer("b"))).layers) == 2
    with pytest.raises(ValueError, match="'x' has scales"):
        QuantPlan(layers=(layer("a"), layer("b", scale=0.25)))


def test_layers_can_be_left_out() -> None:
    plan = QuantPlan(layers=(layer("a"), layer("b"), layer("c")))
    assert [item.name for item in plan.without({"b", "unknown"}).layers] == ["a", "c"]
