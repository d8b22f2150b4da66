"""Each rule of the algebra against the operators that it replaces, borders included, and what it must refuse."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.algebra import (
    Conv,
    add,
    affine,
    affine_before_padding,
    batch_norm,
    before_padding,
    chain,
    compose,
    conv,
    identity,
    merge,
    shifted,
    weight_norm,
)


def assert_exact(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def random_conv(out_channels: int, in_channels: int, size: int, *, seed: int, border: bool = False) -> Conv:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(out_channels, in_channels, size, size, generator=random, dtype=torch.float64)
    bias = torch.randn(out_channels, generator=random, dtype=torch.float64)
    value = torch.randn(in_channels, generator=random, dtype=torch.float64) if border else None
    return conv(weight, bias, value)


@pytest.fixture
def x_nchw() -> torch.Tensor:
    return torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_operator_is_pytorchs_convolution(x_nchw: torch.Tensor) -> None:
    operator = random_conv(5, 4, 3, seed=1)
    torch.testing.assert_close(operator(x_nchw), F.conv2d(x_nchw, operator.weight_oihw, operator.bias_o, padding=1))


def test_operator_pads_with_its_border(x_nchw: torch.Tensor) -> None:
    operator = random_conv(5, 4, 3, seed=1, border=True)
    padded = torch.cat(
        [F.pad(x_nchw[:, i : i + 1], [1] * 4, value=operator.outside()[i].item()) for i in range(4)], dim=1
    )
    torch.testing.assert_close(operator(x_nchw), F.conv2d(padded, operator.weight_oihw, operator.bias_o))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_pointwise_after_anything_is_exact(x_nchw: torch.Tensor, size: int) -> None:
    first, second = random_conv(6, 4, size, seed=1, border=True), random_conv(5, 6, 1, seed=2)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_pointwise_before_a_convolution_that_pads_with_its_bias_is_exact(x_nchw: torch.Tensor) -> None:
    first, plain = random_conv(6, 4, 1, seed=1), random_conv(5, 6, 3, seed=2)
    second = conv(plain.weight_oihw, plain.bias_o, border=first.bias_o)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_pointwise_with_bias_before_zero_padding_is_refused() -> None:
    with pytest.raises(FoldError, match="pad with the bias instead"):
        compose(random_conv(6, 4, 1, seed=1), random_conv(5, 6, 3, seed=2))


def test_pointwise_without_bias_before_zero_padding_is_exact(x_nchw: torch.Tensor) -> None:
    first = conv(random_conv(6, 4, 1, seed=1).weight_oihw)
    second = random_conv(5, 6, 3, seed=2)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_two_padded_convolutions_are_refused() -> None:
    with pytest.raises(FoldError, match="3x3 convolution followed by a padded 5x5"):
        compose(random_conv(6, 4, 3, seed=1), random_conv(5, 6, 5, seed=2))


def test_norm_before_a_padded_convolution_is_refused() -> None:
    random = torch.rand(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    with pytest.raises(FoldError, match="interior only"):
        chain([affine(*batch_norm(random[0], random[1], random[2], random[3], 1e-5)), random_conv(5, 4, 3, seed=2)])


def test_batch_norm_is_pytorchs(x_nchw: torch.Tensor) -> None:
    gamma, beta, mean, var = torch.rand(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    expected = F.batch_norm(x_nchw, mean, var, gamma, beta, eps=1e-3)
    assert_exact(affine(*batch_norm(gamma, beta, mean, var, 1e-3))(x_nchw), expected)


def test_wrong_epsilon_shows(x_nchw: torch.Tensor) -> None:
    ones = torch.ones(4, dtype=torch.float64)
    wrong = affine(*batch_norm(ones, ones, ones, ones * 1e-4, 1e-7))(x_nchw)
    right = affine(*batch_norm(ones, ones, ones, ones * 1e-4, 1e-5))(x_nchw)
    assert (wrong / right).median().item() == pytest.approx(1.048, abs=2e-3)  # fact sheet 1.2: +4.8 % at var = 1e-4


@pytest.mark.parametrize(("first_size", "second_size"), [(1, 3), (3, 1), (3, 5), (3, 3)])
def test_sum_of_branches(x_nchw: torch.Tensor, first_size: int, second_size: int) -> None:
    first, second = random_conv(5, 4, first_size, seed=1), random_conv(5, 4, second_size, seed=2)
    assert_exact(add(first, second)(x_nchw), first(x_nchw) + second(x_nchw))


def test_sum_of_branches_that_pad_differently_is_refused() -> None:
    with pytest.raises(FoldError, match="pad with different values"):
        add(random_conv(5, 4, 3, seed=1), random_conv(5, 4, 3, seed=2, border=True))


def test_identity_and_affine(x_nchw: torch.Tensor) -> None:
    assert_exact(identity(4)(x_nchw), x_nchw)
    scale, shift = torch.randn(2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = x_nchw * scale.view(1, 4, 1, 1) + shift.view(1, 4, 1, 1)
    assert_exact(affine(scale, shift)(x_nchw), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_kernels_become_dense(x_nchw: torch.Tensor, groups: int) -> None:
    weight = torch.randn(8, 4 // groups, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = F.conv2d(x_nchw, weight, padding=1, groups=groups)
    assert_exact(conv(weight, groups=groups)(x_nchw), expected)


def test_kernels_of_even_size_are_refused() -> None:
    with pytest.raises(FoldError, match="2x2"):
        conv(torch.zeros(1, 1, 2, 2))


def test_algebra_is_differentiable(x_nchw: torch.Tensor) -> None:
    weight = torch.randn(6, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    squeeze = torch.randn(4, 6, 1, 1, dtype=torch.float64, requires_grad=True)
    merged = merge([[conv(weight), conv(squeeze)], [identity(4)]])
    merged(x_nchw).square().sum().backward()
    folded = [weight.grad, squeeze.grad]
    weight.grad = squeeze.grad = None
    (F.conv2d(F.conv2d(x_nchw, weight, padding=1), squeeze) + x_nchw).square().sum().backward()
    for mine, expected in zip(folded, (weight.grad, squeeze.grad), strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


def test_affine_before_zero_padding_is_exact_at_the_border(x_nchw: torch.Tensor) -> None:
    scale, shift = torch.randn(2, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    kernel = random_conv(5, 4, 3, seed=2)
    expected = F.conv2d(
        x_nchw * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1), kernel.weight_oihw, kernel.bias_o, padding=1
    )
    assert_exact(chain([affine_before_padding(scale, shift), kernel])(x_nchw), expected)


def test_affine_before_padding_refuses_what_nothing_maps_to_zero() -> None:
    with pytest.raises(FoldError, match="scaled by 0"):
        affine_before_padding(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.5]))
    silent = affine_before_padding(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert silent.outside().tolist() == [-1.0, 0.0]


def test_pointwise_with_bias_before_zero_padding_is_exact_at_the_border(x_nchw: torch.Tensor) -> None:
    first, kernel = random_conv(3, 4, 1, seed=1), random_conv(5, 3, 3, seed=2)
    expected = kernel(first(x_nchw))
    folded = chain([before_padding(first), kernel])
    torch.testing.assert_close(folded(x_nchw), expected, rtol=0, atol=1e-11)
    with pytest.raises(FoldError, match="interior only"):
        chain([first, kernel])
    with pytest.raises(FoldError, match="no value outside the image gives the zero"):
        before_padding(random_conv(6, 4, 1, seed=1))


def test_shifted_is_a_padded_convolution_of_the_difference(x_nchw: torch.Tensor) -> None:
    kernel, shift = random_conv(5, 4, 3, seed=2), torch.tensor([0.1, -0.4, 2.0, 0.0], dtype=torch.float64)
    expected = F.conv2d(x_nchw - shift.view(1, -1, 1, 1), kernel.weight_oihw, kernel.bias_o, padding=1)
    assert_exact(shifted(kernel.weight_oihw, kernel.bias_o, shift)(x_nchw), expected)


def test_weight_norm_has_its_gain_as_norm() -> None:
    gain = torch.tensor([0.5, -2.0], dtype=torch.float64)
    weight = weight_norm(torch.randn(2, 3, 3, 3), gain)
    assert_exact(weight.flatten(1).norm(dim=1), gain.abs())
