"""The networks against the papers' formulas and counts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.network import build, macs_per_lr_pixel, num_parameters
from repsr_deploy.nets.plain import PReLU
from repsr_deploy.nets.spec import Colour, NetSpec
from tests.nets.networks import FAMILIES, randomized, spec_of


@pytest.mark.parametrize(
    ("blocks", "channels", "scale", "colour", "parameters", "giga_macs"),
    [  # fact sheet 1.3: merged networks, MACs for 1280x720 output
        (4, 16, 2, "y", 10_100, 2.29),
        (4, 16, 4, "y", 11_840, 0.67),
        (4, 16, 2, "rgb", 11_548, 2.62),
        (4, 16, 4, "rgb", 16_768, 0.95),
        (10, 32, 2, "rgb", 97_196, 22.2),
        (16, 64, 4, "rgb", 621_424, 35.7),
    ],
)
def test_plain_network_has_the_published_size(
    blocks: int, channels: int, scale: int, colour: Colour, parameters: int, giga_macs: float
) -> None:
    net = build(NetSpec(family="plain", scale=scale, blocks=blocks, channels=channels, colour=colour))
    assert num_parameters(net) == parameters
    assert macs_per_lr_pixel(net) * 1280 * 720 / scale**2 / 1e9 == pytest.approx(giga_macs, rel=0.005)


def test_repsr_block_has_the_published_size() -> None:
    net = build(spec_of("repsr", blocks=1, channels=16))
    assert num_parameters(net.body[0]) == 10_464  # fact sheet 1.3, training-time parameters of one block


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_output_is_scaled(family: str, scale: int, colour: str) -> None:
    spec = NetSpec.from_json(
        f'{{"family": "{family}", "scale": {scale}, "blocks": 1, "channels": 4, "colour": "{colour}"}}'
    )
    output_nchw = build(spec)(torch.rand(2, spec.colours, 9, 7))
    assert output_nchw.shape == (2, spec.colours, 9 * scale, 7 * scale)


def test_skip_is_nearest_neighbour() -> None:
    net = build(spec_of("plain", scale=3))
    torch.nn.init.zeros_(net.get_parameter("tail.weight"))
    torch.nn.init.zeros_(net.get_parameter("tail.bias"))
    x_nchw = torch.rand(1, 3, 5, 7)
    assert torch.equal(net(x_nchw), F.interpolate(x_nchw, scale_factor=3, mode="nearest"))


def test_repsr_block_is_the_papers_formula() -> None:
    block = randomized(spec_of("repsr")).body[0].eval()
    x_nchw = torch.rand(2, 8, 9, 11)
    expected = x_nchw.clone()
    for index in range(2):
        state = {key.split(".", 2)[2]: value for key, value in block.state_dict().items() if f"paths.{index}." in key}
        wide = F.conv2d(x_nchw, state["expand.weight"], state["expand.bias"], padding=1)
        norm = [state[f"norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        expected += F.conv2d(F.batch_norm(wide, *norm), state["squeeze.weight"], state["squeeze.bias"])
    torch.testing.assert_close(block(x_nchw), expected)


def test_prelu_is_pytorchs_bit_for_bit() -> None:
    act = PReLU(4)
    torch.nn.init.normal_(act.weight)
    x_nchw = torch.randn(2, 4, 6, 5)
    expected = F.prelu(x_nchw, act.weight)
    assert torch.equal(act(x_nchw), expected)
    with torch.no_grad():
        assert torch.equal(act(x_nchw), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 0},
        {"scale": 5},
        {"blocks": 0},
        {"channels": True},
        {"expansion": 1.5},
        {"family": "x"},
        {"colour": "z"},
    ],
)
def test_impossible_specs_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        dataclasses.replace(spec_of("plain"), **changes)  # type: ignore[arg-type]


def test_spec_survives_json() -> None:
    spec = spec_of("ecbsr", scale=3, colour="y")
    assert NetSpec.from_json(spec.to_json()) == spec
    with pytest.raises(UsageError, match="not a network spec"):
        NetSpec.from_json('{"family": "plain", "depth": 3}')
