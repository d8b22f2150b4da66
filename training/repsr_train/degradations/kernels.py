"""Blur kernels of Real-ESRGAN (Wang et al., arXiv 2107.10833, section 3 and appendix) and how they are drawn.

Every kernel is a k x k tensor of float64 with k odd and sum 1. x runs along columns, y along rows (downwards), both
from the centre; an angle, in radians, turns x towards y. d is the squared Mahalanobis distance from the centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_train.degradations.checks import Range, check_probability, check_range, check_shares

BellKind = Literal["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
BELL_KINDS: tuple[BellKind, ...] = get_args(BellKind)

WIDE = 13
"""Side from which a drawn sinc kernel may cut frequencies as low as pi / 5: a smaller one cannot resolve them."""


def gaussian(size: int, sigma: tuple[float, float], angle: float = 0.0) -> Tensor:
    """exp(-d / 2), with standard deviations `sigma` in pixels along the turned x and y axes."""
    return generalized_gaussian(size, sigma, angle, beta=1.0)


def generalized_gaussian(size: int, sigma: tuple[float, float], angle: float, beta: float) -> Tensor:
    """exp(-d**beta / 2): pointed with heavy tails for beta < 1, Gaussian for 1, flat-topped above."""
    return _normalised(torch.exp(-0.5 * _squared_distance(size, sigma, angle) ** beta))


def plateau(size: int, sigma: tuple[float, float], angle: float, beta: float) -> Tensor:
    """1 / (1 + d**beta): a plateau with edges that are steeper for larger beta."""
    return _normalised(1 / (1 + _squared_distance(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> Tensor:
    """Circular ideal low-pass filter: cutoff J1(cutoff r) / (2 pi r), and its limit cutoff**2 / (4 pi) at r = 0.

    `cutoff` is in radians per pixel, at most pi (equation 6 of the paper). Cut off to the window it rings, which is
    what makes it a model of over-sharpening and of the ringing that compression leaves. Accurate to 3e-7, because
    PyTorch's J1 is off by up to 5e-7 near 5.
    """
    x, y = _grid(size)
    radius = torch.hypot(x, y)
    centre = size // 2
    radius[centre, centre] = 1  # any number above 0: the value there is set below
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[centre, centre] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)


@dataclass(frozen=True, kw_only=True)
class Bell:
    """A drawn Gaussian, generalized Gaussian or plateau kernel."""

    kind: BellKind
    size: int
    sigma: tuple[float, float]
    angle: float = 0.0
    beta: float = 1.0

    def weights(self) -> Tensor:
        """The kernel, size x size, float64."""
        function = plateau if self.kind.startswith("plateau") else generalized_gaussian
        return function(self.size, self.sigma, self.angle, self.beta)


@dataclass(frozen=True, kw_only=True)
class Sinc:
    """A drawn sinc kernel."""

    size: int
    cutoff: float

    def weights(self) -> Tensor:
        """The kernel, size x size, float64."""
        return sinc(self.size, self.cutoff)


Kernel = Bell | Sinc


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """How blur kernels are drawn; the defaults are those of the first process of Real-ESRGAN.

    Raises:
        UsageError: a size is even, a probability or a range is none.
    """

    sizes: tuple[int, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
    """Sides, pixels, equally probable."""
    sinc: float = 0.1
    """Probability of a sinc kernel instead of a bell."""
    bells: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """Probabilities of `BELL_KINDS` where the kernel is a bell."""
    sigma: Range = (0.2, 3.0)
    """Pixels; both axes alike where isotropic, drawn apart where not."""
    generalized_beta: Range = (0.5, 4.0)
    """Half of the draws fall below 1, half above."""
    plateau_beta: Range = (1.0, 2.0)
    """As above; with a lower end of 1, half of the draws are exactly 1."""

    def __post_init__(self) -> None:
        if not self.sizes or any(size < 1 or size % 2 == 0 for size in self.sizes):
            raise UsageError(f"sizes is {self.sizes}; expected odd numbers of pixels")
        check_probability("sinc", self.sinc)
        check_shares("bells", self.bells, len(BELL_KINDS))
        check_range("sigma", self.sigma, least=0.05)
        for name in ("generalized_beta", "plateau_beta"):
            low, high = getattr(self, name)
            check_range(name, (low, high), least=0.1)
            if not low <= 1 <= high:
                raise UsageError(f"{name} is {(low, high)}; expected a range around 1, which divides its draws in half")


def sample_kernel(config: KernelConfig, random: np.random.Generator) -> Kernel:
    """Draw one kernel; a pure function of the configuration and the generator's state."""
    size = sample_size(config, random)
    if random.random() < config.sinc:
        return Sinc(size=size, cutoff=random.uniform(math.pi / (3 if size < WIDE else 5), math.pi))
    kind = BELL_KINDS[int(random.choice(len(BELL_KINDS), p=config.bells))]
    sigma_x = random.uniform(*config.sigma)
    turned = kind.endswith("aniso")
    return Bell(
        kind=kind,
        size=size,
        sigma=(sigma_x, random.uniform(*config.sigma) if turned else sigma_x),
        angle=random.uniform(-math.pi, math.pi) if turned else 0.0,
        beta=_sample_beta(config, kind, random),
    )


def sample_size(config: KernelConfig, random: np.random.Generator) -> int:
    """Draw a side length, pixels."""
    return int(random.choice(config.sizes))


def _sample_beta(config: KernelConfig, kind: BellKind, random: np.random.Generator) -> float:
    if kind in {"iso", "aniso"}:
        return 1.0
    low, high = config.plateau_beta if kind.startswith("plateau") else config.generalized_beta
    return random.uniform(low, 1) if random.random() < 0.5 else random.uniform(1, high)


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """x and y of every tap, size x size."""
    if size < 1 or size % 2 == 0:
        raise UsageError(f"kernel size is {size}; expected an odd number")
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _squared_distance(size: int, sigma: tuple[float, float], angle: float) -> Tensor:
    """d: the squared Mahalanobis distance of every tap from the centre."""
    x, y = _grid(size)
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    return (along / sigma[0]) ** 2 + (across / sigma[1]) ** 2


def _normalised(kernel: Tensor) -> Tensor:
    return kernel / kernel.sum()
