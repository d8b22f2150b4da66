"""SRResNet and where its dropout sits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.network import build, num_parameters
from repsr_deploy.nets.ops import Eager
from repsr_deploy.nets.spec import SrresnetSpec, parse_name


class Spy(Eager):
    """Notes what was named last before every dropout."""

    def __init__(self) -> None:
        self.last = ""
        self.seen: list[str] = []

    def linear(self, name: str, layer: object, x: torch.Tensor) -> torch.Tensor:
        self.last = name
        return super().linear(name, layer, x)  # type: ignore[arg-type]

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.last = f"sum after {self.last}"
        return super().add(x, y)

    def dropout(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(self.last)
        return super().dropout(layer, x)


def places(**changes: object) -> list[str]:
    spec = dataclasses.replace(SrresnetSpec(scale=2, blocks=4, channels=4, dropout=0.5), **changes)  # type: ignore[arg-type]
    spy = Spy()
    build(spec).graph(spy, torch.rand(1, 3, 8, 8))
    return spy.seen


def test_published_parameter_count() -> None:
    assert num_parameters(build(parse_name("srresnet-m16c64-x4"))) == 1_517_571


def test_dropout_sits_where_it_is_asked_for() -> None:
    assert places() == ["hr"]
    assert places(dropout_at="block-3") == ["sum after body.2.conv2"]
    assert places(dropout_at="conv1-quarter") == ["body.3.conv1"]
    assert places(dropout_at="conv2-half") == ["body.2.conv2", "body.3.conv2"]
    assert places(dropout_at="sum-all") == [f"sum after body.{index}.conv2" for index in range(4)]
    assert places(dropout=0.0) == []


@pytest.mark.parametrize("at", ["block-5", "block-0", "conv3-all", "first"])
def test_impossible_places_are_refused(at: str) -> None:
    with pytest.raises(UsageError, match="dropout_at"):
        places(dropout_at=at)


@pytest.mark.parametrize("kind", ["channel", "element"])
def test_dropout_acts_in_training_alone_and_by_channel(kind: str) -> None:
    spec = dataclasses.replace(parse_name("srresnet-dropout-m1c64-x2"), dropout_kind=kind)
    net = build(spec)
    dropped: list[torch.Tensor] = []

    class Keep(Eager):
        def dropout(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
            dropped.append(super().dropout(layer, torch.ones_like(x)))
            return x

    net.train().graph(Keep(), torch.rand(2, 3, 8, 8))
    values = dropped[0].flatten(2)
    assert {round(value, 4) for value in values.unique().tolist()} == {0.0, round(1 / 0.3, 4)}
    assert bool((values == values[..., :1]).all()) is (kind == "channel")
    assert (values == 0).float().mean().item() == pytest.approx(0.7, abs=0.12)
    x_nchw = torch.rand(1, 3, 9, 9)
    assert torch.equal(net.eval()(x_nchw), net.eval()(x_nchw))


def test_network_is_msrresnet() -> None:
    net = build(parse_name("srresnet-m1c4-x2")).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)

    def conv(x_nchw: torch.Tensor, name: str) -> torch.Tensor:
        return F.conv2d(x_nchw, net.get_parameter(f"{name}.weight"), net.get_parameter(f"{name}.bias"), padding=1)

    x_nchw = torch.rand(2, 3, 7, 9)
    first = F.leaky_relu(conv(x_nchw, "head"), 0.1)
    body = first + conv(F.relu(conv(first, "body.0.conv1")), "body.0.conv2")
    up = F.leaky_relu(F.pixel_shuffle(conv(body, "upsampler.0"), 2), 0.1)
    last = conv(F.leaky_relu(conv(up, "hr"), 0.1), "tail")
    expected = last + F.interpolate(x_nchw, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(net(x_nchw), expected, rtol=1e-4, atol=1e-5)
