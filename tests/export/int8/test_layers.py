"""Which convolutions can be int8, and why others cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from repsr_deploy.export.int8.layers import PICTURE, convolutions
from tests.export.int8.graphs import Graph, chain


def test_only_the_head_reads_the_picture(tmp_path: Path) -> None:
    reasons = {layer.name: layer.why_float for layer in convolutions(chain(tmp_path).graph)}
    assert reasons == {"head_node": PICTURE, "body_node": None, "tail_node": None}


def test_pictures_that_were_only_moved_or_joined_to_features_are_pictures(tmp_path: Path) -> None:
    graph = Graph()
    moved = graph.node("Sub", ["input", graph.constant("mean", np.full((1, 3, 1, 1), 0.4, np.float32))], "moved")
    features = graph.conv(moved, "head", 3, 4)
    both = graph.node("Concat", [features, moved], "both", axis=1)
    body = graph.conv(both, "body", 7, 3)
    reasons = [
        layer.why_float for layer in convolutions(graph.model(graph.conv(body, "tail", 3, 3), 1, tmp_path).graph)
    ]
    assert reasons == [PICTURE, PICTURE, None]


def test_computed_weights_stay_float(tmp_path: Path) -> None:
    graph = Graph()
    features = graph.conv("input", "head", 3, 4)
    mean = graph.node("ReduceMean", [features], "mean", keepdims=1)  # one number
    graph.conv(features, "plain", 4, 3)
    kernel = graph.node("Mul", ["plain.weight", mean], "kernel")
    result = graph.node("Conv", [features, kernel], "computed", kernel_shape=[3, 3], pads=[1] * 4)
    model = graph.model(graph.node("Add", [result, "plain"], "sum"), 1, tmp_path)
    reasons = {layer.name: layer.why_float for layer in convolutions(model.graph)}
    assert reasons["computed_node"] == "its weights are computed, not constant"
    assert reasons["plain_node"] is None
