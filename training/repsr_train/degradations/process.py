"""One process of blur, resize, noise and JPEG: half of a second-order degradation. It is drawn first, then applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_train.degradations.checks import Range, check_probability, check_range, check_shares
from repsr_train.degradations.filters import blur
from repsr_train.degradations.kernels import Kernel, KernelConfig, sample_kernel
from repsr_train.degradations.noise import add_gaussian, add_poisson
from repsr_train.degradations.resize import RESIZE_MODES, ResizeMode, resize


@dataclass(frozen=True, kw_only=True)
class Process:
    """How a process is drawn; the defaults are those of the first process of Real-ESRGAN.

    Raises:
        UsageError: a value is no probability or no range.
    """

    blur: float = 1.0
    """Probability of blurring at all."""
    kernels: KernelConfig = field(default_factory=KernelConfig)
    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Probabilities of enlarging, reducing and keeping the size."""
    factor: Range = (0.15, 1.5)
    """Reducing draws from its lower end to 1, enlarging from 1 to its upper end."""
    gaussian: float = 0.5
    """Probability of Gaussian noise; Poisson noise otherwise."""
    sigma: Range = (1.0, 30.0)
    """Of Gaussian noise, in levels of 8 bits."""
    poisson: Range = (0.05, 3.0)
    """Scale of Poisson noise."""
    gray: float = 0.4
    """Probability that the noise is the same in all channels."""
    quality: tuple[int, int] = (30, 95)
    """Of JPEG; whole numbers, as encoders have them (Real-ESRGAN scales its tables by real ones)."""

    def __post_init__(self) -> None:
        for name in ("blur", "gaussian", "gray"):
            check_probability(name, getattr(self, name))
        check_shares("resize", self.resize, 3)
        check_range("factor", self.factor, least=0.01)
        if not self.factor[0] <= 1 <= self.factor[1]:
            raise UsageError(f"factor is {self.factor}; expected a range around 1")
        check_range("sigma", self.sigma, least=0)
        check_range("poisson", self.poisson, least=0)
        check_range("quality", self.quality, least=1, most=100)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Drawn noise: the sigma of Gaussian noise or the scale of Poisson noise."""

    kind: Literal["gaussian", "poisson"]
    amount: float
    gray: bool

    def add(self, image_nchw: Tensor, generator: torch.Generator) -> Tensor:
        """The image with this noise, clipped to 0..1."""
        function = add_gaussian if self.kind == "gaussian" else add_poisson
        return function(image_nchw, self.amount, gray=self.gray, generator=generator)


@dataclass(frozen=True, kw_only=True)
class ProcessDraw:
    """All choices of one process."""

    kernel: Kernel | None
    factor: float
    mode: ResizeMode
    noise: Noise
    quality: int

    def blur_resize_noise(self, image_nchw: Tensor, sides: tuple[float, float], generator: torch.Generator) -> Tensor:
        """What comes before the JPEG compression; `sides`, height and width, are those that `factor` counts from."""
        if self.kernel is not None:
            image_nchw = blur(image_nchw, self.kernel.weights())
        height, width = (max(1, int(side * self.factor)) for side in sides)
        return self.noise.add(resize(image_nchw, (height, width), self.mode), generator)


def draw_process(config: Process, random: np.random.Generator) -> ProcessDraw:
    """Choose everything for one process; a pure function of the configuration and the generator's state."""
    kernel = sample_kernel(config.kernels, random) if random.random() < config.blur else None
    low, high = config.factor
    ranges = ((1.0, high), (low, 1.0), (1.0, 1.0))
    factor = random.uniform(*ranges[int(random.choice(3, p=config.resize))])
    mode = draw_mode(random)
    gaussian = random.random() < config.gaussian
    noise = Noise(
        kind="gaussian" if gaussian else "poisson",
        amount=random.uniform(*(config.sigma if gaussian else config.poisson)),
        gray=random.random() < config.gray,
    )
    quality = int(random.integers(*config.quality, endpoint=True))
    return ProcessDraw(kernel=kernel, factor=factor, mode=mode, noise=noise, quality=quality)


def draw_mode(random: np.random.Generator) -> ResizeMode:
    """Choose a filter for resizing."""
    return RESIZE_MODES[int(random.integers(len(RESIZE_MODES)))]
