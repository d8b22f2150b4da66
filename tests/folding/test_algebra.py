"""Each rule of the algebra against the operators that it replaces, borders included, and what it must refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from repsr_deploy.errors import FoldError
from repsr_deploy.folding.algebra import (
    Conv,
    Pads,
    add,
    affine,
    batch_norm,
    chain,
    compose,
    conv,
    identity,
    merge,
    select,
    shift_of,
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


def random_operator(
    out_channels: int,
    in_channels: int,
    size: tuple[int, int],
    pads: Pads,
    *,
    seed: int,
    strides: tuple[int, int] = (1, 1),
    ones: bool = False,
) -> Conv:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(out_channels, in_channels, *size, generator=random, dtype=torch.float64)
    bias = torch.randn(out_channels, generator=random, dtype=torch.float64)
    kernel = torch.randn(out_channels, *size, generator=random, dtype=torch.float64)
    return replace(conv(weight, bias, pads=pads, strides=strides), ones_ohw=kernel if ones else None)


@pytest.fixture
def x_nchw() -> torch.Tensor:
    return torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def test_operator_is_pytorchs_convolution(x_nchw: torch.Tensor) -> None:
    operator = random_conv(5, 4, 3, seed=1)
    torch.testing.assert_close(operator(x_nchw), F.conv2d(x_nchw, operator.weight_oihw, operator.bias_o, padding=1))


def test_operator_pads_with_its_border(x_nchw: torch.Tensor) -> None:
    plain = random_conv(5, 4, 3, seed=1)
    value = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    operator = conv(plain.weight_oihw, plain.bias_o, value)
    padded = torch.cat([F.pad(x_nchw[:, i : i + 1], [1] * 4, value=value[i].item()) for i in range(4)], dim=1)
    assert_exact(operator(x_nchw), F.conv2d(padded, plain.weight_oihw, plain.bias_o))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_pointwise_after_anything_is_exact(x_nchw: torch.Tensor, size: int) -> None:
    first, second = random_conv(6, 4, size, seed=1, border=True), random_conv(5, 6, 1, seed=2)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_pointwise_before_a_convolution_that_pads_with_its_bias_is_exact(x_nchw: torch.Tensor) -> None:
    first, plain = random_conv(6, 4, 1, seed=1), random_conv(5, 6, 3, seed=2)
    second = conv(plain.weight_oihw, plain.bias_o, border=first.bias_o)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_pointwise_with_bias_before_zero_padding_is_exact(x_nchw: torch.Tensor) -> None:
    first, second = random_conv(6, 4, 1, seed=1), random_conv(5, 6, 3, seed=2)
    folded = compose(first, second)
    assert_exact(folded(x_nchw), second(first(x_nchw)))
    assert folded.ones_ohw is not None
    careless = replace(folded, ones_ohw=None, bias_o=folded.bias_o + folded.ones_ohw.sum((1, 2)))
    difference = (careless(x_nchw) - folded(x_nchw)).abs()
    assert_exact(difference[..., 1:-1, 1:-1], torch.zeros_like(difference[..., 1:-1, 1:-1]))
    assert difference.max() > 0.1  # what folding the bias alone does at the border


def test_pointwise_without_bias_before_zero_padding_is_exact(x_nchw: torch.Tensor) -> None:
    first = conv(random_conv(6, 4, 1, seed=1).weight_oihw)
    second = random_conv(5, 6, 3, seed=2)
    assert_exact(compose(first, second)(x_nchw), second(first(x_nchw)))


def test_two_padded_convolutions_are_refused() -> None:
    with pytest.raises(FoldError, match="3x3 convolution followed by a padded 5x5"):
        compose(random_conv(6, 4, 3, seed=1), random_conv(5, 6, 5, seed=2))


def test_two_padded_convolutions_fold_in_the_interior_if_asked_to(x_nchw: torch.Tensor) -> None:
    first, second = random_conv(6, 4, 3, seed=1), random_conv(5, 6, 3, seed=2)
    folded, expected = compose(first, second, allow_border=True)(x_nchw), second(first(x_nchw))
    assert_exact(folded[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert (folded - expected).abs().max() > 0.1
    exact = compose(random_conv(6, 4, 1, seed=1), second, allow_border=True)
    assert_exact(exact(x_nchw), second(random_conv(6, 4, 1, seed=1)(x_nchw)))


@pytest.mark.parametrize("second_strides", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("first_strides", [(1, 1), (2, 1)])
@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize(
    ("first_size", "first_pads", "second_size", "second_pads"),
    [
        ((3, 3), (1, 1, 1, 1), (1, 1), (0, 0, 0, 0)),
        ((3, 1), (1, 0, 1, 0), (2, 3), (0, 0, 0, 0)),  # nothing read outside
        ((3, 3), (1, 2, 0, 1), (2, 2), (-1, 0, 0, -1)),  # a crop
        ((1, 1), (0, 0, 0, 0), (3, 3), (1, 1, 1, 1)),
        ((1, 1), (0, 0, 0, 0), (2, 4), (0, 3, 1, 2)),
    ],
)
def test_chains_of_any_kernels_pads_and_strides(
    x_nchw: torch.Tensor,
    first_size: tuple[int, int],
    first_pads: Pads,
    second_size: tuple[int, int],
    second_pads: Pads,
    first_strides: tuple[int, int],
    second_strides: tuple[int, int],
    ones: bool,
) -> None:
    first = random_operator(6, 4, first_size, first_pads, seed=1, strides=first_strides, ones=ones)
    second = random_operator(5, 6, second_size, second_pads, seed=2, strides=second_strides, ones=ones)
    folded = compose(first, second)
    for height, width in ((7, 9), (8, 6), (9, 7), (6, 10)):
        x = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(height), dtype=torch.float64)
        assert_exact(folded(x), second(first(x)))


def test_padding_before_a_padded_convolution_is_one_padding(x_nchw: torch.Tensor) -> None:
    padding = conv(identity(4).weight_oihw, pads=(1, 0, 2, 1))
    second = random_conv(5, 4, 3, seed=2)
    folded = compose(padding, second)
    assert folded.pads == (2, 1, 3, 2)
    assert_exact(folded(x_nchw), second(padding(x_nchw)))
    full = random_operator(6, 4, (3, 2), (2, 1, 2, 1), seed=1)
    with pytest.raises(FoldError, match="interior only"):
        compose(full, second if second.weight_oihw.shape[1] == 6 else random_conv(5, 6, 3, seed=2))
    faded = replace(full, bias_o=torch.zeros(6, dtype=torch.float64))
    second = random_conv(5, 6, 3, seed=2)
    assert_exact(compose(faded, second)(x_nchw), second(faded(x_nchw)))


@pytest.mark.parametrize("dilations", [(2, 2), (1, 3)])
def test_dilated_kernels_are_filled_up(x_nchw: torch.Tensor, dilations: tuple[int, int]) -> None:
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = F.conv2d(x_nchw, weight, padding=dilations, dilation=dilations)
    assert_exact(conv(weight, dilations=dilations)(x_nchw), expected)


def test_sum_of_kernels_of_other_shapes(x_nchw: torch.Tensor) -> None:
    upright = random_operator(5, 4, (3, 1), (1, 0, 1, 0), seed=1, ones=True)
    flat = random_operator(5, 4, (1, 5), (0, 2, 0, 2), seed=2)
    shifted_window = random_operator(5, 4, (2, 2), (0, 1, 1, 0), seed=3, ones=True)
    folded = add(add(upright, flat), shifted_window)
    assert_exact(folded(x_nchw), upright(x_nchw) + flat(x_nchw) + shifted_window(x_nchw))


def test_sum_of_branches_of_other_sizes_is_refused() -> None:
    with pytest.raises(FoldError, match="images of other sizes"):
        add(random_conv(5, 4, 3, seed=1), random_operator(5, 4, (3, 3), (0, 0, 0, 0), seed=2))
    with pytest.raises(FoldError, match="images of other sizes"):
        add(random_conv(5, 4, 3, seed=1), random_operator(5, 4, (3, 3), (1, 1, 1, 1), seed=2, strides=(2, 2)))


def test_channels_are_selected(x_nchw: torch.Tensor) -> None:
    expected = torch.stack([x_nchw[:, 2], torch.zeros_like(x_nchw[:, 0]), x_nchw[:, 0]], dim=1)
    assert_exact(select([2, -1, 0], 4)(x_nchw), expected)


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


def test_sum_of_branches_that_pad_differently(x_nchw: torch.Tensor) -> None:
    first, second = random_conv(5, 4, 3, seed=1), random_conv(5, 4, 3, seed=2, border=True)
    assert_exact(add(first, second)(x_nchw), first(x_nchw) + second(x_nchw))


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


def test_kernels_of_even_size_need_pads() -> None:
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


def test_affine_before_zero_padding_is_a_shift(x_nchw: torch.Tensor) -> None:
    scale, shift = torch.randn(2, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    kernel = random_conv(5, 4, 3, seed=2)
    folded = chain([affine(scale, shift), kernel])
    assert_exact(folded(x_nchw), kernel(x_nchw * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)))
    found = shift_of(folded)
    assert found is not None
    torch.testing.assert_close(found, -shift / scale, rtol=0, atol=1e-11)


def test_shift_of_what_no_shift_does() -> None:
    kernel = random_conv(5, 4, 3, seed=2)
    dead = torch.tensor([1.0, 0.0, 2.0, 1.0])
    assert shift_of(chain([affine(dead, torch.tensor([1.0, 0.5, 0.0, 0.0])), kernel])) is None
    silent = shift_of(chain([affine(dead, torch.tensor([1.0, 0.0, 0.0, 0.0])), kernel]))
    assert silent is not None
    torch.testing.assert_close(silent, torch.tensor([-1.0, 0.0, 0.0, 0.0]).double(), rtol=0, atol=1e-12)
    narrow, wide = random_conv(3, 4, 1, seed=1), random_conv(6, 4, 1, seed=1)
    assert shift_of(compose(narrow, random_conv(5, 3, 3, seed=2))) is not None
    assert shift_of(compose(wide, random_conv(5, 6, 3, seed=2))) is None


def test_shifted_is_a_padded_convolution_of_the_difference(x_nchw: torch.Tensor) -> None:
    kernel, shift = random_conv(5, 4, 3, seed=2), torch.tensor([0.1, -0.4, 2.0, 0.0], dtype=torch.float64)
    expected = F.conv2d(x_nchw - shift.view(1, -1, 1, 1), kernel.weight_oihw, kernel.bias_o, padding=1)
    assert_exact(shifted(kernel.weight_oihw, kernel.bias_o, shift)(x_nchw), expected)


def test_weight_norm_has_its_gain_as_norm() -> None:
    gain = torch.tensor([0.5, -2.0], dtype=torch.float64)
    weight = weight_norm(torch.randn(2, 3, 3, 3), gain)
    assert_exact(weight.flatten(1).norm(dim=1), gain.abs())
