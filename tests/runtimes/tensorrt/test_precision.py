"""What a network or an engine computes in, against what it is said to."""

from __future__ import annotations

from typing import Any

import pytest

from repsr_deploy.errors import ModelFileError
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes.tensorrt.precision import check_engine_types, check_network_types, engine_types


def layer(*types: str, key: str = "Format/Datatype") -> dict[str, Any]:
    *inputs, output = ({"Name": "x", "Dimensions": [1, 16, 36, 64], key: text} for text in types)
    return {"Name": "conv", "LayerType": "CaskConvolution", "Inputs": inputs, "Outputs": [output]}


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Float", "fp32"),
        ("Half", "fp16"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Float16", "fp16"),
        ("BFloat16", "bf16"),
        ("Row major linear BF16 format", "bf16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
    ],
)
@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype"])
def test_words_for_types(text: str, precision: Precision, key: str) -> None:
    assert engine_types({"Layers": [layer(text, text, key=key)]}) == {precision}


def test_types_of_several_layers_and_of_none() -> None:
    assert engine_types({"Layers": [layer("Float", "Half"), layer("Half", "Int8")]}) == {"fp32", "fp16", "int8"}
    assert engine_types({"Layers": ["conv + relu", "output"]}) == set()
    assert engine_types({"Layers": [layer("N/A due to dynamic shapes", "N/A due to dynamic shapes")]}) == set()
    assert engine_types({}) == set()


def test_an_engine_of_other_tensors_is_refused() -> None:
    check_engine_types("x", "fp16", {"fp32", "fp16"})
    check_engine_types("x", "int8", {"fp32", "int8"})
    check_engine_types("x", "fp16", set())  # TensorRT did not say
    with pytest.raises(ModelFileError, match="said to be fp16, but its tensors are fp32: the number would be an fp32"):
        check_engine_types("x", "fp16", {"fp32"})


@pytest.mark.parametrize(
    ("precision", "types"),
    [("fp32", {"fp32": 6}), ("fp16", {"fp16": 6}), ("int8", {"int8": 4, "fp32": 2}), ("bf16", {"bf16": 1, "fp32": 5})],
)
def test_networks_that_are_what_they_say(precision: Precision, types: dict[str, int]) -> None:
    check_network_types("x", precision, types)
    check_network_types("x", precision, {})  # nothing tells


@pytest.mark.parametrize(
    ("precision", "types"), [("fp16", {"fp32": 6}), ("fp32", {"fp32": 5, "fp16": 1}), ("int8", {"FP8": 3})]
)
def test_networks_that_are_something_else(precision: Precision, types: dict[str, int]) -> None:
    with pytest.raises(ModelFileError, match=f"said to be {precision}.* would be an .* number"):
        check_network_types("x", precision, types)
