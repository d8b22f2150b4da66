"""WDSR against the papers' counts and formulas."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.folding.fold import fold
from repsr_deploy.nets.network import build, linear_layers, macs_per_lr_pixel, num_parameters
from repsr_deploy.nets.spec import WdsrSpec, parse_name
from repsr_deploy.nets.weight_norm import WeightNormConv
from tests.nets.networks import randomized


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # fact sheet 3.3; the gains of weight norm are counted
        ("wdsr-a-m1c32-x2", 79_380),
        ("wdsr-a-m3c32-x2", 227_476),
        ("wdsr-a-m5c32-x2", 375_572),
        ("wdsr-a-m8c32-x2", 597_716),
        ("wdsr-a-m16c32-x2", 1_190_100),
        ("wdsr-a-m16c32-x3", 1_195_605),
        ("wdsr-a-m16c32-x4", 1_203_312),
        ("wdsr-b-m1c32-x2", 23_974),
        ("wdsr-b-m8c32-x2", 154_468),
        ("wdsr-b-m16c32-x2", 303_604),
        ("wdsr-b-m1c64-x2", 84_250),
        ("wdsr-b-m8c64-x2", 605_988),
    ],
)
def test_published_parameter_counts(name: str, parameters: int) -> None:
    assert num_parameters(build(parse_name(name))) == parameters


def test_folded_counts_and_macs_are_the_published_ones() -> None:
    spec = parse_name("wdsr-a-m8c32-x2")
    folded = build(spec.folded)
    shifts = 3 + 3  # the mean before head and skip, subtracted because of the padding
    assert num_parameters(folded) - shifts == 596_380
    assert macs_per_lr_pixel(folded) * 1280 * 720 / 4 / 1e9 == pytest.approx(137.1, rel=1e-3)


def test_weight_norm_is_pytorchs() -> None:
    conv = WeightNormConv(3, 5, 3, gain=2.0)
    torch.nn.init.uniform_(conv.gain, 0.5, 2)
    reference = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 5, 3, padding=1))
    state = {
        "bias": conv.bias,
        "parametrizations.weight.original0": conv.gain.view(-1, 1, 1, 1),
        "parametrizations.weight.original1": conv.direction,
    }
    reference.load_state_dict(state)
    x_nchw = torch.rand(2, 3, 7, 9)
    torch.testing.assert_close(conv(x_nchw), reference(x_nchw))


def test_initial_gains() -> None:
    net = build(parse_name("wdsr-b-m4c8-x2"))
    gains = {key.removesuffix(".conv.gain"): value for key, value in net.named_parameters() if key.endswith(".gain")}
    assert {key: value[0].item() for key, value in gains.items() if not key.startswith("body.")} == {
        "head": 1.0,
        "tail": 1.0,
        "skip": 1.0,
    }
    assert gains["body.2.expand"][0] == 2
    assert gains["body.2.project.restore"][0] == 0.5


@pytest.mark.parametrize("family", ["wdsr-a", "wdsr-b"])
def test_without_weight_norm_it_starts_as_the_same_function(family: str) -> None:
    spec = parse_name(f"{family}-m2c8-x2")
    assert isinstance(spec, WdsrSpec)
    nets: list[torch.nn.Module] = []
    for weight_norm in (True, False):
        torch.manual_seed(3)
        nets.append(build(dataclasses.replace(spec, weight_norm=weight_norm)))
    x_nchw = torch.rand(1, 3, 12, 13)
    torch.testing.assert_close(nets[0](x_nchw), nets[1](x_nchw))
    assert not any("gain" in key for key, _ in nets[1].named_parameters())


def test_network_is_the_papers_formula() -> None:
    net = randomized(parse_name("wdsr-a-m1c4-x2")).eval()
    state = net.state_dict()

    def conv(x_nchw: torch.Tensor, name: str) -> torch.Tensor:
        direction, gain = state[f"{name}.conv.direction"], state[f"{name}.conv.gain"]
        norm = direction.flatten(1).norm(dim=1)
        weight = direction * (gain / norm).view(-1, 1, 1, 1)
        return F.conv2d(x_nchw, weight, state[f"{name}.conv.bias"], padding=direction.shape[-1] // 2)

    x_nchw = torch.rand(2, 3, 9, 11)
    features = conv(x_nchw - 0.5, "head")
    features = features + conv(F.relu(conv(features, "body.0.expand")), "body.0.project")
    expected = F.pixel_shuffle(conv(features, "tail"), 2) + F.pixel_shuffle(conv(x_nchw - 0.5, "skip"), 2) + 0.5
    torch.testing.assert_close(net(x_nchw), expected, rtol=1e-4, atol=1e-5)


def test_low_rank_pair_folds_only_where_that_saves_work() -> None:
    kept = parse_name("wdsr-b-m1c8-x2")
    assert "body.0.project.reduce" in linear_layers(build(kept))
    assert kept.kept[0].startswith("low-rank pair 1x1 48->6, 3x3 6->8 of every block: one 3x3 convolution would take")
    saving = dataclasses.replace(kept, expansion=1.0, linear=1.0)
    assert not saving.kept
    net = randomized(saving)
    result = fold(net)  # exact at the border too: the 1x1 convolution's bias is in what the 3x3 one reads outside
    assert "body.0.project" in linear_layers(result.net)
    assert result.proof.after.macs_per_lr_pixel < result.proof.before.macs_per_lr_pixel
    assert result.proof.passed


def test_res_scale_folds() -> None:
    spec = dataclasses.replace(parse_name("wdsr-a-m2c8-x2"), res_scale=0.1)
    result = fold(randomized(spec))
    assert isinstance(result.net.spec, WdsrSpec)
    assert result.net.spec.res_scale == 1
    assert result.proof.passed
