"""Large networks: how long folding takes, and how much memory."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph

NODES_A_BLOCK = 11
MEGABYTE = 1_000_000
MEASURE = """
import ctypes, json, sys
from pathlib import Path
from typing import Any
import torch
from repsr_deploy.folding.graph.fold import fold_graph
from repsr_deploy.folding.graph.read import read_graph

def memory():
    ctypes.CDLL(None).malloc_trim(0)  # what is free and kept for later by the allocator is not in use; peaks keep it
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {key: int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM", "RssAnon", "RssFile")}

torch.set_num_threads(1)
start = memory()
model = read_graph(Path(sys.argv[1]))
read = memory()
fold = fold_graph(model)
print(json.dumps({"start": start, "read": read, "folded": memory(), "sites": len(fold.sites)}))
"""


class Builder:
    """A network of ReLUs and blocks: BN(3x3) + BN(1x1) + BN + 1x1 to twice the width and 3x3 back."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = np.random.default_rng(3)

    def weight(self, *shape: int, low: float = -1.0) -> str:
        """Numbers that keep the features' size."""
        inputs = int(np.prod(shape[1:]))
        numbers = self._rng.random(shape, np.float32) * (1 - low) + low
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numbers / np.float32(np.sqrt(inputs)), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The name of its output."""
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(self, image: str, channels: int, inputs: int, size: int) -> str:
        return self.node("Conv", image, self.weight(channels, inputs, size, size), pads=[size // 2] * 4)

    def norm(self, image: str) -> str:
        numbers = [self.weight(self.width) for _ in range(3)]
        return self.node("BatchNormalization", image, *numbers, self.weight(self.width, low=0.5))

    def block(self, image: str) -> str:
        active, width = self.node("Relu", image), self.width
        branches = [
            self.norm(self.conv(active, width, width, 3)),
            self.norm(self.conv(active, width, width, 1)),
            self.norm(active),
            self.conv(self.conv(active, 2 * width, width, 1), width, 2 * width, 3),
        ]
        total = branches[0]
        for branch in branches[1:]:
            total = self.node("Add", total, branch)
        return total

    def model(self, blocks: int) -> onnx.ModelProto:
        """Image to features."""
        image = self.conv("x", self.width, 3, 3)
        for _ in range(blocks):
            image = self.block(image)
        graph = helper.make_graph(
            self.nodes,
            "large",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
            [helper.make_tensor_value_info(image, TensorProto.FLOAT, ["N", self.width, "H", "W"])],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.slow
def test_a_thousand_nodes_fold_in_seconds(tmp_path: Path) -> None:
    """Ten seconds on one core are promised; the limit leaves room for slow and busy machines."""
    blocks = 1000 // NODES_A_BLOCK + 1
    onnx.save(Builder(64).model(blocks), tmp_path / "net.onnx")
    start = time.perf_counter()
    model = read_graph(tmp_path / "net.onnx")
    read_s = time.perf_counter() - start
    fold = fold_graph(model)
    fold_s = time.perf_counter() - start - read_s
    print(f"\n{len(model.graph):,} nodes: read in {read_s:.2f} s, folded in {fold_s:.2f} s")  # noqa: T201
    assert len(model.graph) >= 1000
    assert [node.op_type for node in fold.model.graph] == ["Conv", *["Relu", "Conv"] * blocks]
    assert fold_s < 30


@pytest.mark.parametrize("blocks", [3])
def test_the_same_network_with_fewer_blocks_folds_exactly(blocks: int, tmp_path: Path) -> None:
    onnx.save(Builder(8).model(blocks), tmp_path / "net.onnx")
    model = read_graph(tmp_path / "net.onnx")
    folded = fold_graph(model).model
    assert [node.op_type for node in folded.graph] == ["Conv", *["Relu", "Conv"] * blocks]
    x_nchw = torch.rand(1, 3, 13, 10, dtype=torch.float64)
    ((name, expected),) = evaluate(model, {"x": x_nchw}).items()
    torch.testing.assert_close(evaluate(folded, {"x": x_nchw})[name], expected)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is measured as Linux and glibc tell it")
@pytest.mark.parametrize("external", [False, True])
def test_a_model_of_100_megabytes_folds_within_three_times_its_size(external: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(Builder(256).model(14), path, save_as_external_data=external, location="weights.bin")
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > 100 * MEGABYTE
    read, folded, peak = _measured(path)
    for _ in range(2):  # what the system drops of the mapped files meanwhile looks like our peak: one run must hold
        if peak >= 3 * size:
            read, folded, peak = _measured(path)
    print(  # noqa: T201
        f"\n{size / MEGABYTE:.0f} MB: {read / MEGABYTE:.0f} MB after reading, {folded / MEGABYTE:.0f} MB more after "
        f"folding, {peak / MEGABYTE:.0f} MB at the peak"
    )
    assert read < (0.1 if external else 1.2) * size  # mapped from the file, or in memory once
    assert folded < size  # the new weights; the old ones are the same tensors
    assert peak < 3 * size


def _measured(path: Path) -> tuple[int, int, int]:
    """Bytes that a model takes once it is read, that its fold adds, and at the peak, without pages of files."""
    run = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True, timeout=120)
    seen = json.loads(run.stdout)
    assert seen["sites"] == 14
    start, after_read, after_fold = (seen[stage] for stage in ("start", "read", "folded"))
    read, folded = after_read["RssAnon"] - start["RssAnon"], after_fold["RssAnon"] - after_read["RssAnon"]
    mapped = after_fold["RssFile"] - start["RssFile"]
    return read, folded, after_fold["VmHWM"] - start["VmRSS"] - mapped
