"""Fine-tuning in int8: the forward pass is that of the exported file, and the run ends in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from repsr_deploy.errors import UsageError
from repsr_deploy.export.int8.plan import QuantPlan
from repsr_deploy.export.int8.plan import rounded_weights as exported_weights
from repsr_deploy.export.int8.qdq import write_qdq
from repsr_deploy.export.int8.tuned import tuned_plan
from repsr_deploy.export.onnx import build_model
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.network import Network
from repsr_deploy.nets.plain import ShiftedConv
from repsr_train.cli import main
from repsr_train.config import Recipe
from repsr_train.data import Pair
from repsr_train.overrides import assign
from repsr_train.qat import Int8Conv, prepare, quantize, rounded_weights, scales_of
from repsr_train.step import Learner
from repsr_train.trainer import Hooks, train
from tests.nets.networks import randomized, spec_of
from tests.training.conftest import CPU, SMALL, Batches


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A network prepared for fine-tuning."""
    net = randomized(spec_of("repsr"))
    save_checkpoint(tmp_path / "net.safetensors", net, CheckpointInfo(spec=net.spec, data_licence="CC0"))
    prepare(tmp_path / "net.safetensors", tmp_path / "start.safetensors", ())
    return tmp_path / "start.safetensors"


def graph_of(net: Network) -> ir.Model:
    spec = net.spec
    info = ModelInfo(name=spec.name, scale=spec.scale, halo=spec.halo, colour=spec.colour)
    return ir.from_proto(build_model(net, info))


def test_weights_round_as_in_the_exported_file() -> None:
    weight_oihw = torch.randn(7, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    weight_oihw[3] = 0
    rounded = rounded_weights(weight_oihw).numpy()
    np.testing.assert_allclose(rounded, exported_weights(weight_oihw.numpy()), rtol=1e-6, atol=1e-9)
    assert all(len(np.unique(row)) <= 255 for row in rounded)


def test_the_forward_pass_is_that_of_the_exported_graph(start: Path) -> None:
    net, info = load_checkpoint(start)
    plain = graph_of(net)
    plan = tuned_plan(plain, info.history)
    assert isinstance(plan, QuantPlan)
    assert len(plan.layers) == 3  # two blocks and the tail; the head reads the picture
    exported = write_qdq(plain, plan)
    quantize(net, scales_of(info.history))
    x_nchw = torch.rand(2, 3, 19, 23, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        actual = net(x_nchw).clamp(0, 1).numpy()
        exact = load_checkpoint(start)[0](x_nchw).clamp(0, 1).numpy()
    (expected,) = evaluate(exported, {"input": x_nchw.double()}).values()
    rounding = np.abs(actual - exact).mean()
    assert np.abs(actual - expected.numpy()).mean() < 0.02 * rounding  # a number between two steps may go either way
    assert rounding > 1e-5


def test_a_fine_tuned_network_loses_less(start: Path, pairs: Sequence[Pair]) -> None:
    net, info = load_checkpoint(start)
    recipe = assign(Recipe(network=net.spec), [*SMALL, "steps=60", "lr=1e-3", "batch=8"])
    learner = Learner(recipe, CPU, int8=scales_of(info.history))
    learner.start_from(net.state_dict())
    assert sum(isinstance(layer, Int8Conv) for layer in learner.net.modules()) == 3
    before = {key: value.clone() for key, value in learner.net.state_dict().items()}
    losses: list[float] = []
    train(learner, Batches(pairs, recipe, CPU), Hooks(reported=lambda report: losses.append(report.loss)))
    assert losses[-1] < 0.7 * losses[0]
    assert before.keys() == net.state_dict().keys()
    assert all((before[key] != value).any() for key, value in learner.net.state_dict().items())


def test_only_plain_convolutions_are_trained_in_int8() -> None:
    net = randomized(spec_of("edsr-bn").folded)
    shifted = next(name for name, layer in net.named_modules() if isinstance(layer, ShiftedConv))
    with pytest.raises(UsageError, match="is a ShiftedConv; fine-tuning in int8 expects plain convolutions"):
        quantize(net, {shifted: 0.1})


def test_a_checkpoint_that_was_not_prepared_has_no_scales() -> None:
    with pytest.raises(UsageError, match="was not prepared for int8; start with `repsr-train qat"):
        scales_of([{"stage": "train"}])


def test_the_command_trains_continues_and_keeps_the_scales(pairs: Sequence[Pair], tmp_path: Path) -> None:
    net = randomized(spec_of("repsr"))
    save_checkpoint(tmp_path / "net.safetensors", net, CheckpointInfo(spec=net.spec, data_licence="CC0"))
    for pair in pairs:
        write_image(tmp_path / "photos" / f"{pair.name}.png", pair.hr_hwc)
    common = [str(tmp_path / "net.safetensors"), "--data", str(tmp_path / "photos"), "--out", str(tmp_path / "run")]
    common += ["--val", str(tmp_path / "photos"), *(word for value in SMALL for word in ("--set", value))]
    assert main(["qat", *common, "--set", "steps=6"]) == 0
    tuned, info = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert tuned.spec == net.spec.folded
    assert [entry["stage"] for entry in info.history] == ["fold", "int8", "train"]
    plan = tuned_plan(graph_of(tuned), info.history)
    assert plan is not None
    assert {layer.weight.removesuffix(".weight"): layer.input_scale for layer in plan.layers} == scales_of(info.history)
    assert main(["qat", *common, "--set", "steps=6"]) == 2  # the folder holds a run
    assert main(["qat", *common, "--set", "steps=6", "--resume"]) == 0
