"""The second-order degradation of Real-ESRGAN (Wang et al., arXiv 2107.10833, section 3.2 and figure 2).

Two processes of blur, resize, noise and JPEG follow each other; the second ends with the reduction to the LR size and
a sinc filter, before or after its JPEG compression. All choices for a sample are drawn first (`draw`), then applied
(`apply`). Unlike in Real-ESRGAN's batches, every sample has its own choices, so no pool of earlier pairs is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_train.degradations.checks import check_probability
from repsr_train.degradations.filters import blur, usm_sharpen
from repsr_train.degradations.jpeg import jpeg
from repsr_train.degradations.kernels import KernelConfig, Sinc, sample_size
from repsr_train.degradations.process import Process, ProcessDraw, draw_mode, draw_process
from repsr_train.degradations.resize import ResizeMode, resize

STREAM = 0xDE62ADE
"""Keeps these random numbers apart from others that the same seed gives, such as those of the crops."""


def _second_process() -> Process:
    return Process(
        blur=0.8,
        kernels=KernelConfig(sigma=(0.2, 1.5)),
        resize=(0.3, 0.4, 0.3),
        factor=(0.3, 1.2),
        sigma=(1.0, 25.0),
        poisson=(0.05, 2.5),
    )


@dataclass(frozen=True, kw_only=True)
class SecondOrder:
    """How LR samples are made from HR samples; the defaults are those of Real-ESRGAN, which Reflash Dropout uses too.

    Raises:
        UsageError: a value is no probability.
    """

    first: Process = field(default_factory=Process)
    second: Process = field(default_factory=_second_process)
    """Its `factor` counts from the LR size, not from what the first process left."""
    final_sinc: float = 0.8
    """Probability of a sinc filter at the LR size; its sides are those of the second process's kernels."""
    jpeg_last: float = 0.5
    """Probability that the second JPEG compression comes after the reduction to the LR size and the sinc filter."""
    sharpen: bool = True
    """Unsharp masking of the HR sample, before it is degraded and as the training target."""

    def __post_init__(self) -> None:
        for name in ("final_sinc", "jpeg_last"):
            check_probability(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Draw:
    """All choices for one sample."""

    sharpen: bool
    first: ProcessDraw
    second: ProcessDraw
    final_mode: ResizeMode
    final_kernel: Sinc | None
    jpeg_last: bool
    noise_seed: int
    """Of the pixels of both noises."""


def sample_generator(seed: tuple[int, ...], index: int) -> np.random.Generator:
    """The random numbers of sample `index` of the batch that `seed` names."""
    return np.random.default_rng(np.random.SeedSequence((*seed, index), spawn_key=(STREAM, len(seed))))


def draw(config: SecondOrder, random: np.random.Generator) -> Draw:
    """Choose everything for one sample; a pure function of the configuration and the generator's state."""
    first, second = draw_process(config.first, random), draw_process(config.second, random)
    sinc: Sinc | None = None
    if random.random() < config.final_sinc:
        size = sample_size(config.second.kernels, random)
        sinc = Sinc(size=size, cutoff=random.uniform(math.pi / 3, math.pi))
    return Draw(
        sharpen=config.sharpen,
        first=first,
        second=second,
        final_mode=draw_mode(random),
        final_kernel=sinc,
        jpeg_last=random.random() < config.jpeg_last,
        noise_seed=int(random.integers(2**63)),
    )


def apply(hr_nchw: Tensor, scale: int, choices: Draw) -> tuple[Tensor, Tensor]:
    """Degrade 1 x 3 x H x W as drawn; returns LR and target as `degrade` does."""
    generator = torch.Generator(hr_nchw.device).manual_seed(choices.noise_seed)
    target_nchw = usm_sharpen(hr_nchw) if choices.sharpen else hr_nchw
    height, width = hr_nchw.shape[-2:]

    image = choices.first.blur_resize_noise(target_nchw, (height, width), generator)
    image = jpeg(image, [choices.first.quality])
    image = choices.second.blur_resize_noise(image, (height / scale, width / scale), generator)
    if not choices.jpeg_last:
        image = jpeg(image, [choices.second.quality])
    image = resize(image, (height // scale, width // scale), choices.final_mode)
    if choices.final_kernel is not None:
        image = blur(image, choices.final_kernel.weights())
    if choices.jpeg_last:
        image = jpeg(image, [choices.second.quality])
    return (image * 255).round().clamp(0, 255) / 255, target_nchw


@torch.no_grad()
def degrade(
    hr_nchw: Tensor, scale: int, config: SecondOrder, seed: tuple[int, ...], *, start: int = 0
) -> tuple[Tensor, Tensor]:
    """Make LR samples and their training targets; each sample has its own degradation.

    Sample k depends on `seed`, on `start` + k and on its own pixels alone. Give the step of training in `seed`, and a
    resumed run repeats it; give each process the index of its first sample, and a batch may be divided in any way.
    Repeats bit for bit on one device with one version of PyTorch.

    Args:
        hr_nchw: float32 RGB in 0..1, N x 3 x H x W on any device, sides divisible by `scale`. What lies beyond their
            border is guessed by mirroring, which reaches some 25 pixels inwards: cut larger samples where that matters.
        scale: whole factor from LR to HR.
        config: what is drawn.
        seed: whole numbers, 0 or more.
        start: index of the first of these samples in the whole batch.

    Returns:
        LR, N x 3 x H/scale x W/scale, multiples of 1/255 in 0..1; and the target, N x 3 x H x W in 0..1: the HR
        samples, sharpened if the configuration says so.

    Raises:
        UsageError: not RGB, no sample, or sides not divisible by the scale.
    """
    count, channels, height, width = hr_nchw.shape
    if count == 0 or channels != 3 or height % scale or width % scale:
        raise UsageError(
            f"HR samples have shape {tuple(hr_nchw.shape)}; expected N x 3 x H x W with sides divisible by {scale}"
        )
    pairs = [
        apply(sample[None], scale, draw(config, sample_generator(seed, start + index)))
        for index, sample in enumerate(hr_nchw)
    ]
    lr, target = zip(*pairs, strict=True)
    return torch.cat(lr), torch.cat(target)
