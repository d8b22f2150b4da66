"""Blur kernels against independent formulas."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate, special, stats
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_train.degradations.kernels import (
    BELL_KINDS,
    Bell,
    KernelConfig,
    Sinc,
    gaussian,
    generalized_gaussian,
    plateau,
    sample_kernel,
    sinc,
)

SIZES = (7, 13, 21)
TURNED = ((2.4, 0.9), 0.7)
DRAWS = 20_000

Float = NDArray[np.float64]


def covariance(sigma: tuple[float, float], angle: float) -> Float:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag(np.square(sigma)) @ turn.T


def places(size: int) -> Float:
    """(x, y) of every tap, size x size x 2: x along columns."""
    axis = np.arange(size) - size // 2
    return np.stack(np.meshgrid(axis, axis), axis=-1).astype(np.float64)


def mahalanobis(size: int, sigma: tuple[float, float], angle: float) -> Float:
    inverse = np.linalg.inv(covariance(sigma, angle))
    return np.einsum("hwi,ij,hwj->hw", places(size), inverse, places(size))


def assert_kernel(kernel: Tensor, expected: Float, *, error: float = 1e-15) -> None:
    assert kernel.dtype == torch.float64
    np.testing.assert_allclose(kernel.numpy(), expected / expected.sum(), rtol=1e-9, atol=error)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("sigma", "angle"), [((1.3, 1.3), 0.0), TURNED, ((0.4, 3.0), -2.5)])
def test_gaussian_is_the_bivariate_normal_density(size: int, sigma: tuple[float, float], angle: float) -> None:
    spread: Any = covariance(sigma, angle)
    density = stats.multivariate_normal(np.zeros(2), spread).pdf(places(size))
    assert_kernel(gaussian(size, sigma, angle), np.asarray(density))


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.7])
def test_generalized_gaussian_and_plateau_follow_their_formulas(beta: float) -> None:
    sigma, angle = TURNED
    distance = mahalanobis(15, sigma, angle)
    assert_kernel(generalized_gaussian(15, sigma, angle, beta), np.exp(-0.5 * distance**beta))
    assert_kernel(plateau(15, sigma, angle, beta), 1 / (1 + distance**beta))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cutoff", [math.pi / 5, 1.9, math.pi])
def test_sinc_is_the_inverse_fourier_transform_of_a_disc(size: int, cutoff: float) -> None:
    def value(radius: float) -> float:
        """1 / (4 pi^2) times the integral of exp(i w x) over |w| < cutoff, in polar coordinates."""

        def integrand(frequency: float) -> float:
            return frequency * float(special.j0(frequency * radius))

        return float(integrate.quad(integrand, 0, cutoff)[0]) / (2 * math.pi)

    radii = np.hypot(*np.moveaxis(places(size), -1, 0))
    values = {radius: value(radius) for radius in np.unique(radii)}
    assert_kernel(sinc(size, cutoff), np.vectorize(values.__getitem__)(radii), error=3e-7)


def test_sinc_passes_low_and_stops_high_frequencies() -> None:
    response = np.abs(np.fft.fft2(sinc(101, math.pi / 2).numpy(), s=(512, 512)))[0, :257]
    assert response[:100].min() > 0.9  # 512 samples to 2 pi: the cutoff is at 128
    assert response[156:].max() < 0.1


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(gaussian, TURNED), (generalized_gaussian, (*TURNED, 0.6)), (plateau, (*TURNED, 1.7)), (sinc, (1.5,))],
)
@pytest.mark.parametrize("size", SIZES)
def test_every_kernel_sums_to_one_and_is_symmetric_about_its_centre(
    function: Callable[..., Tensor], arguments: tuple[Any, ...], size: int
) -> None:
    kernel = function(size, *arguments)
    assert kernel.shape == (size, size)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("function", [generalized_gaussian, plateau])
def test_a_quarter_turn_turns_the_kernel(function: Callable[..., Tensor]) -> None:
    kernel, turned = function(11, (2.5, 0.8), 0.3, 1.4), function(11, (2.5, 0.8), 0.3 + math.pi / 2, 1.4)
    torch.testing.assert_close(torch.rot90(kernel, -1), turned)  # from x (right) towards y (down): clockwise
    assert not torch.allclose(kernel, turned)
    swapped = function(11, (0.8, 2.5), 0.3, 1.4)
    torch.testing.assert_close(swapped, turned)


def test_even_sizes_are_refused() -> None:
    for make in (lambda: sinc(8, 1.0), lambda: gaussian(0, (1, 1))):
        with pytest.raises(UsageError, match="odd"):
            make()


def test_draws_follow_the_probabilities() -> None:
    random = np.random.default_rng(7)
    config = KernelConfig()
    kernels = [sample_kernel(config, random) for _ in range(DRAWS)]
    bells = [kernel for kernel in kernels if isinstance(kernel, Bell)]
    kinds = Counter(bell.kind for bell in bells)
    assert_share(DRAWS - len(bells), DRAWS, 0.1)
    for kind, share in zip(BELL_KINDS, config.bells, strict=True):
        assert_share(kinds[kind], len(bells), share)
    sizes = Counter(kernel.size for kernel in kernels)
    assert sorted(sizes) == list(config.sizes)
    for size in config.sizes:
        assert_share(sizes[size], DRAWS, 1 / 8)


def test_draws_stay_within_their_ranges_and_fill_them() -> None:
    random = np.random.default_rng(8)
    kernels = [sample_kernel(KernelConfig(sinc=0.5), random) for _ in range(DRAWS)]
    bells = [kernel for kernel in kernels if isinstance(kernel, Bell)]
    cuts = [kernel for kernel in kernels if isinstance(kernel, Sinc)]
    assert_uniform([bell.sigma[0] for bell in bells], 0.2, 3)
    assert_uniform([cut.cutoff for cut in cuts if cut.size < 13], math.pi / 3, math.pi)
    assert_uniform([cut.cutoff for cut in cuts if cut.size >= 13], math.pi / 5, math.pi)
    turned = [bell for bell in bells if bell.kind.endswith("aniso")]
    assert_uniform([bell.angle for bell in turned], -math.pi, math.pi)
    assert_uniform([bell.sigma[1] for bell in turned], 0.2, 3)
    assert all(bell.sigma[0] == bell.sigma[1] for bell in bells if not bell.kind.endswith("aniso"))
    assert all(bell.beta == 1 for bell in bells if bell.kind in {"iso", "aniso"})
    generalized = [bell.beta for bell in bells if bell.kind.startswith("generalized")]
    assert_uniform([beta for beta in generalized if beta < 1], 0.5, 1)
    assert_uniform([beta for beta in generalized if beta > 1], 1, 4)
    assert_share(sum(beta < 1 for beta in generalized), len(generalized), 0.5)
    plateaus = [bell.beta for bell in bells if bell.kind.startswith("plateau")]
    assert_share(sum(beta == 1 for beta in plateaus), len(plateaus), 0.5)


def test_a_drawn_kernel_is_the_function_of_its_kind() -> None:
    sigma, angle = TURNED
    for kind in ("aniso", "generalized_aniso"):
        bell = Bell(kind=kind, size=9, sigma=sigma, angle=angle, beta=2.0)
        torch.testing.assert_close(bell.weights(), generalized_gaussian(9, sigma, angle, 2.0))
    bell = Bell(kind="plateau_iso", size=9, sigma=(1.5, 1.5), beta=1.2)
    torch.testing.assert_close(bell.weights(), plateau(9, (1.5, 1.5), 0.0, 1.2))
    torch.testing.assert_close(Sinc(size=9, cutoff=2.0).weights(), sinc(9, 2.0))


def assert_share(count: int, total: int, share: float) -> None:
    """Within five standard deviations of the binomial distribution."""
    assert abs(count - total * share) < 5 * math.sqrt(total * share * (1 - share))


def assert_uniform(values: list[float], low: float, high: float) -> None:
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4
