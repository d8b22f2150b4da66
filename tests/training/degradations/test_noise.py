"""Statistics of noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from repsr_train.degradations.noise import LUMA, add_gaussian, add_poisson

SIDE = 300


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(levels: int) -> Tensor:
    """1 x 3 x SIDE x SIDE with the given number of different values around 1/2, rising in equal bands."""
    values = (torch.arange(levels) + (255 - levels) // 2) / 255
    rows = values[torch.arange(SIDE) * levels // SIDE]
    return rows.view(1, 1, SIDE, 1).expand(1, 3, SIDE, SIDE).contiguous()


@pytest.mark.parametrize("sigma", [2.0, 25.0])
def test_gaussian_noise_has_mean_zero_and_its_sigma(sigma: float) -> None:
    image = torch.full((2, 3, SIDE, SIDE), 0.5)
    noise = (add_gaussian(image, sigma, gray=False, generator=generator()) - image) * 255
    assert float(noise.mean()) == pytest.approx(0, abs=5 * sigma / math.sqrt(noise.numel()))
    assert float(noise.std()) == pytest.approx(sigma, rel=0.01)
    same = torch.randn(image.shape, generator=generator()) * sigma
    torch.testing.assert_close(noise, same, rtol=0, atol=1e-4)  # none of it is clipped
    planes = noise.flatten(2).flatten(0, 1)
    assert torch.corrcoef(planes).fill_diagonal_(0).abs().max() < 0.02  # channels and samples are independent


@pytest.mark.parametrize(("levels", "photons"), [(2, 2), (3, 4), (64, 64), (65, 128), (129, 256), (180, 256)])
def test_poisson_variance_is_the_mean_over_the_photons(levels: int, photons: int) -> None:
    scale, image = 0.2, ramp(levels)  # small enough that next to nothing is clipped
    noise = add_poisson(image, scale, gray=False, generator=generator()) - image
    expected = scale**2 * image / photons
    assert float(noise.var()) == pytest.approx(float(expected.mean()), rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=5 * math.sqrt(float(expected.mean()) / noise.numel()))
    for rows in (slice(0, 100), slice(200, 300)):  # darker and brighter bands each have their own
        assert float(noise[..., rows, :].var()) == pytest.approx(float(expected[..., rows, :].mean()), rel=0.03)


def test_poisson_noise_of_scale_1_counts_photons() -> None:
    noisy = add_poisson(ramp(13), 1.0, gray=False, generator=generator()) * 16
    torch.testing.assert_close(noisy, noisy.round(), rtol=0, atol=1e-4)


def test_poisson_counts_the_levels_of_each_sample() -> None:
    both = torch.cat([ramp(2), ramp(200)])
    noise = add_poisson(both, 0.1, gray=False, generator=generator()) - both
    assert float(noise[0].var() / noise[1].var()) == pytest.approx(256 / 2, rel=0.05)


@pytest.mark.parametrize("add", [add_gaussian, add_poisson])
def test_gray_noise_is_equal_in_all_channels_and_colour_noise_is_not(add: Callable[..., Tensor]) -> None:
    image = torch.rand(2, 3, 40, 56, generator=generator()) * 0.3 + 0.35
    gray = add(image, 0.5, gray=True, generator=generator()) - image
    torch.testing.assert_close(gray[:, 0], gray[:, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(gray[:, 0], gray[:, 2], rtol=0, atol=1e-6)
    assert gray.std() > 0
    colour = add(image, 0.5, gray=False, generator=generator()) - image
    assert (colour[:, 0] - colour[:, 1]).abs().mean() > 0.3 * colour.abs().mean()


def test_gray_poisson_noise_is_that_of_the_luma() -> None:
    image = torch.tensor([0.7, 0.4, 0.1]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE).contiguous()
    image[..., ::2] += 1 / 255  # two levels of luma, so two photons
    noise = add_poisson(image, 0.01, gray=True, generator=generator()) - image
    luma = sum(weight * float(channel.mean()) for weight, channel in zip(LUMA, image[0], strict=True))
    assert float(noise[:, 0].var()) == pytest.approx(0.01**2 * luma / 2, rel=0.05)


@pytest.mark.parametrize("add", [add_gaussian, add_poisson])
def test_noise_is_clipped_and_repeats_with_its_generator(add: Callable[..., Any]) -> None:
    image = torch.rand(1, 3, 33, 21, generator=generator())
    first, again = (add(image, 30.0, gray=False, generator=generator(5)) for _ in range(2))
    other = add(image, 30.0, gray=False, generator=generator(6))
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
