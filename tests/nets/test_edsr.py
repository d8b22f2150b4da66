"""EDSR and AdaDM against the formula of the authors' code."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.errors import FoldError, UsageError
from repsr_deploy.folding.calibrate import calibrated
from repsr_deploy.folding.fold import fold
from repsr_deploy.nets.edsr import NormConv
from repsr_deploy.nets.modulation import AdaptiveModulation
from repsr_deploy.nets.network import build, num_parameters
from repsr_deploy.nets.spec import parse_name
from tests.nets.networks import randomized


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("edsr-m16c64-x2", 1_369_859), ("edsr-m16c64-x4", 1_517_571), ("edsr-m32c256-x2", 40_729_603)],
)
def test_published_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert num_parameters(build(parse_name(name))) == parameters


def test_modulation_adds_two_numbers_and_two_norms_a_block() -> None:
    plain, adadm = (num_parameters(build(parse_name(f"{name}-m3c8-x2"))) for name in ("edsr", "edsr-adadm"))
    assert adadm - plain == 3 * (2 + 2 * 2 * 8)


def test_block_is_the_papers_formula() -> None:
    net = randomized(parse_name("edsr-adadm-m1c4-x2")).eval()
    state = {key.removeprefix("body.0."): value for key, value in net.state_dict().items() if key.startswith("body.0.")}

    def norm_conv(x_nchw: torch.Tensor, name: str) -> torch.Tensor:
        norm = [state[f"{name}.norm.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        return F.conv2d(
            F.batch_norm(x_nchw, *norm), state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], padding=1
        )

    x_nchw = torch.rand(2, 3, 9, 11)
    head = F.conv2d(x_nchw, net.get_parameter("head.weight"), net.get_parameter("head.bias"), padding=1)
    s = torch.std(head, dim=[1, 2, 3], keepdim=True)
    phi = F.conv2d(torch.log(s), state["modulation.weight"].view(1, 1, 1, 1), state["modulation.bias"])
    block = head + norm_conv(F.relu(norm_conv(head, "conv1")), "conv2") * torch.exp(phi)
    end = F.conv2d(block, net.get_parameter("body_end.weight"), net.get_parameter("body_end.bias"), padding=1) + head
    up = F.conv2d(end, net.get_parameter("upsampler.0.weight"), net.get_parameter("upsampler.0.bias"), padding=1)
    expected = F.conv2d(
        F.pixel_shuffle(up, 2), net.get_parameter("tail.weight"), net.get_parameter("tail.bias"), padding=1
    )
    torch.testing.assert_close(net(x_nchw), expected, rtol=1e-4, atol=1e-5)


def test_factor_starts_as_the_deviation() -> None:
    source_nchw = torch.randn(3, 4, 8, 8) * torch.tensor([0.1, 1.0, 7.0]).view(3, 1, 1, 1)
    factor = AdaptiveModulation()(torch.ones(3, 1, 2, 2), source_nchw)[:, 0, 0, 0]
    torch.testing.assert_close(factor, source_nchw.std(dim=(1, 2, 3)))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_flat_images_give_no_nan(value: float) -> None:
    module = AdaptiveModulation()
    source_nchw = torch.full((1, 3, 5, 5), value, requires_grad=True)
    output = module(torch.ones(1, 3, 5, 5), source_nchw)
    output.sum().backward()
    assert torch.isfinite(output).all()
    for tensor in (module.weight, module.bias, source_nchw):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_factor_is_computed_in_float32_inside_autocast() -> None:
    module = AdaptiveModulation()
    source_nchw = torch.randn(1, 4, 64, 64) * 100
    with torch.autocast("cpu", torch.float16):
        half = module.log_factor(source_nchw.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, module.log_factor(source_nchw), rtol=1e-3, atol=1e-3)


def test_batch_norm_with_gamma_zero_before_a_padded_convolution_is_refused_or_exact() -> None:
    net = randomized(parse_name("edsr-bn-m1c4-x2"))
    with torch.no_grad():
        net.get_parameter("body.0.conv1.norm.weight")[1] = 0
    with pytest.raises(FoldError, match=r"body\.0\.conv1: no values subtracted"):
        fold(net)


def test_calibration_is_the_geometric_mean_and_folds_whole() -> None:
    net = randomized(parse_name("edsr-adadm-m2c8-x2")).eval()
    before = copy.deepcopy(net.state_dict())
    images = [torch.rand(1, 3, 13, 17), 0.2 * torch.rand(1, 3, 15, 11)]
    constant = calibrated(net, images)
    assert constant.spec.name == "EDSR-BN-M2C8"
    assert constant.spec.halo is not None
    logs: list[torch.Tensor] = []
    for image_nchw in images:
        head = F.conv2d(image_nchw, net.get_parameter("head.weight"), net.get_parameter("head.bias"), padding=1)
        weight, bias = net.get_parameter("body.0.modulation.weight"), net.get_parameter("body.0.modulation.bias")
        logs.append((weight * torch.log(head.std()) + bias).detach())
    first = constant.get_submodule("body.0.conv2")
    assert isinstance(first, NormConv)
    assert first.gain.item() == pytest.approx(math.exp(torch.cat(logs).mean().item()), rel=1e-5)
    one = calibrated(net, images[:1])  # on the only image that it was calibrated on, nothing changes
    torch.testing.assert_close(one(images[0]), net(images[0]), rtol=1e-4, atol=1e-5)
    assert fold(constant).proof.passed
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_only_adadm_can_be_calibrated() -> None:
    with pytest.raises(UsageError, match="EDSR-BN-M1C4 has no factor"):
        calibrated(build(parse_name("edsr-bn-m1c4-x2")), [torch.rand(1, 3, 9, 9)])
    with pytest.raises(UsageError, match="no image to calibrate on"):
        calibrated(build(parse_name("edsr-adadm-m1c4-x2")), [])
