"""The networks against the papers' formulas and counts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.network import build, macs_per_lr_pixel, num_parameters
from repsr_deploy.nets.plain import PReLU
from repsr_deploy.nets.spec import Colour, StackSpec, spec_from_json
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
    net = build(StackSpec(family="plain", scale=scale, blocks=blocks, channels=channels, colour=colour))
    assert num_parameters(net) == parameters
    assert macs_per_lr_pixel(net) * 1280 * 720 / scale**2 / 1e9 == pytest.approx(giga_macs, rel=0.005)


def test_repsr_block_has_the_published_size() -> None:
    net = build(spec_of("repsr", blocks=1, channels=16))
    assert (
        num_parameters(net.get_submodule("body.0")) == 10_464
    )  # fact sheet 1.3, training-time parameters of one block


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_output_is_scaled(family: str, scale: int, colour: str) -> None:
    spec = spec_of(family, scale=scale, blocks=1, channels=4, colour=colour)
    output_nchw = build(spec)(torch.rand(2, spec.colours, 9, 7))
    assert output_nchw.shape == (2, spec.colours, 9 * scale, 7 * scale)


def test_skip_is_nearest_neighbour() -> None:
    net = build(spec_of("plain", scale=3))
    torch.nn.init.zeros_(net.get_parameter("tail.weight"))
    torch.nn.init.zeros_(net.get_parameter("tail.bias"))
    x_nchw = torch.rand(1, 3, 5, 7)
    assert torch.equal(net(x_nchw), F.interpolate(x_nchw, scale_factor=3, mode="nearest"))


def test_repsr_block_is_the_papers_formula() -> None:
    block = randomized(spec_of("repsr")).get_submodule("body.0").eval()
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
        dataclasses.replace(spec_of("repsr"), **changes)  # type: ignore[arg-type]


def test_spec_survives_json() -> None:
    spec = spec_of("ecbsr", scale=3, colour="y")
    assert spec_from_json(spec.to_json()) == spec
    with pytest.raises(UsageError, match="not a plain network"):
        spec_from_json('{"family": "plain", "depth": 3}')


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "edsr-adadm"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_halo_is_the_reach_of_a_pixel(family: str, scale: int) -> None:
    net = build(spec_of(family, scale=scale, blocks=1, channels=4)).double().eval()
    halo = net.spec.halo
    assert halo is not None
    side = 2 * halo + 5
    middle = halo + 2
    reached = torch.zeros(side, dtype=torch.bool)
    for seed in range(3):  # a ReLU may be shut for one image
        torch.manual_seed(seed)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        x_nchw = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        rows = slice(middle * scale, (middle + 1) * scale)
        net(x_nchw)[..., rows, rows].sum().backward()
        assert x_nchw.grad is not None
        reached |= (x_nchw.grad[0] != 0).any(dim=(0, 2))
    found = reached.nonzero().flatten()
    assert middle - int(found.min()) == int(found.max()) - middle == halo


def test_adadm_has_no_halo() -> None:
    assert spec_of("edsr-adadm").halo is None


@pytest.mark.parametrize("family", FAMILIES)
def test_folded_spec_folds_into_itself(family: str) -> None:
    spec = spec_of(family)
    assert spec.folded.folded == spec.folded
    assert spec_from_json(spec.to_json()) == spec
    assert spec_from_json(spec.folded.to_json()) == spec.folded
