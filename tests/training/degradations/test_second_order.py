"""The second-order degradation: what is drawn, and what is done with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from scipy import stats
from torch import Tensor

from repsr_deploy.errors import UsageError
from repsr_deploy.metrics.evaluate import reduce
from repsr_train.degradations.filters import usm_sharpen
from repsr_train.degradations.kernels import Bell
from repsr_train.degradations.process import Process
from repsr_train.degradations.second_order import SecondOrder, degrade, draw, sample_generator

DRAWS = 8_000
QUIET = Process(blur=0, resize=(0, 0, 1), gaussian=1, sigma=(0, 0), quality=(100, 100))
"""Does nothing that can be seen."""
NOTHING = SecondOrder(first=QUIET, second=QUIET, final_sinc=0, sharpen=False)


@pytest.fixture(scope="module")
def hr_nchw() -> Tensor:
    """Four photographs of 96 x 120."""
    photo_hwc = skimage.data.astronaut()
    crops = [photo_hwc[top : top + 96, left : left + 120] for top, left in ((0, 160), (200, 100), (380, 390), (60, 0))]
    return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)) / 255


def assert_share(count: int, share: float, total: int = DRAWS) -> None:
    """Within five standard deviations of the binomial distribution."""
    assert abs(count - total * share) <= 5 * math.sqrt(total * share * (1 - share))


def assert_uniform(values: list[float], low: float, high: float) -> None:
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


def test_draws_follow_the_probabilities() -> None:
    draws = [draw(SecondOrder(), sample_generator((3, step), 0)) for step in range(DRAWS)]
    for processes, blurred, resized, factors, sigmas, scales in (
        ([d.first for d in draws], 1.0, (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3)),
        ([d.second for d in draws], 0.8, (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5)),
    ):
        assert_share(sum(p.kernel is not None for p in processes), blurred)
        for share, sign in zip(resized, (1, -1, 0), strict=True):
            assert_share(sum(np.sign(p.factor - 1) == sign for p in processes), share)
        assert_uniform([p.factor for p in processes if p.factor < 1], factors[0], 1)
        assert_uniform([p.factor for p in processes if p.factor > 1], 1, factors[1])
        for count in Counter(p.mode for p in processes).values():
            assert_share(count, 1 / 3)
        assert_share(sum(p.noise.kind == "gaussian" for p in processes), 0.5)
        assert_share(sum(p.noise.gray for p in processes), 0.4)
        assert_uniform([p.noise.amount for p in processes if p.noise.kind == "gaussian"], *sigmas)
        assert_uniform([p.noise.amount for p in processes if p.noise.kind == "poisson"], *scales)
        qualities = Counter(p.quality for p in processes)
        assert sorted(qualities) == list(range(30, 96))
        assert stats.chisquare(list(qualities.values())).pvalue > 1e-4
    sincs = [d.final_kernel for d in draws if d.final_kernel]
    assert_share(len(sincs), 0.8)
    assert_uniform([sinc.cutoff for sinc in sincs], math.pi / 3, math.pi)
    assert {sinc.size for sinc in sincs} == set(range(7, 22, 2))
    assert_share(sum(d.jpeg_last for d in draws), 0.5)
    for count in Counter(d.final_mode for d in draws).values():
        assert_share(count, 1 / 3)
    assert all(d.sharpen for d in draws)
    assert len({d.noise_seed for d in draws}) == DRAWS


def test_the_second_process_blurs_less() -> None:
    draws = [draw(SecondOrder(), sample_generator((4,), index)) for index in range(500)]
    for processes, limit in (([d.first for d in draws], 3.0), ([d.second for d in draws], 1.5)):
        sigmas = [max(p.kernel.sigma) for p in processes if isinstance(p.kernel, Bell)]
        assert 0.95 * limit < max(sigmas) <= limit


def test_seeds_are_streams_of_their_own() -> None:
    values = {
        float(generator.random())
        for generator in (
            sample_generator((1,), 2),
            sample_generator((1, 2), 0),
            sample_generator((2, 1), 0),
            sample_generator((1,), 3),
            np.random.default_rng((1, 2)),  # the crops of step 2 with seed 1
        )
    }
    assert len(values) == 5


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_results_have_the_right_size_range_and_levels(hr_nchw: Tensor, scale: int) -> None:
    lr, target = degrade(hr_nchw, scale, SecondOrder(), (0, scale))
    assert lr.shape == (4, 3, 96 // scale, 120 // scale)
    assert target.shape == hr_nchw.shape
    assert lr.dtype == target.dtype == torch.float32
    torch.testing.assert_close(lr * 255, (lr * 255).round(), rtol=0, atol=1e-4)
    for image in (lr, target):
        assert 0 <= image.min() <= image.max() <= 1
    assert torch.equal(target, torch.cat([usm_sharpen(hr[None]) for hr in hr_nchw]))
    assert not lr.requires_grad


def test_a_batch_may_be_divided_in_any_way(hr_nchw: Tensor) -> None:
    config, seed = SecondOrder(), (5, 1234)
    together = degrade(hr_nchw, 4, config, seed)
    for index in range(4):
        alone = degrade(hr_nchw[index : index + 1], 4, config, seed, start=index)
        for whole, single in zip(together, alone, strict=True):
            assert torch.equal(whole[index : index + 1], single)
    laid_out = hr_nchw.contiguous(memory_format=torch.channels_last)
    for whole, other in zip(together, degrade(laid_out, 4, config, seed), strict=True):
        torch.testing.assert_close(whole, other, rtol=0, atol=0)


def test_samples_differ_and_repeat(hr_nchw: Tensor) -> None:
    same_nchw = hr_nchw[:1].expand(4, -1, -1, -1)
    lr, _ = degrade(same_nchw, 4, SecondOrder(), (6,))
    again, _ = degrade(same_nchw, 4, SecondOrder(), (6,))
    other, _ = degrade(same_nchw, 4, SecondOrder(), (7,))
    assert torch.equal(lr, again)
    for first in range(4):
        assert not torch.equal(lr[first], other[first])
        for second in range(first):
            assert not torch.equal(lr[first], lr[second])


def test_it_draws_from_no_other_random_state(hr_nchw: Tensor) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    lr, _ = degrade(hr_nchw, 4, SecondOrder(), (8,))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert torch.equal(lr, degrade(hr_nchw, 4, SecondOrder(), (8,))[0])


@pytest.mark.parametrize("scale", [2, 4])
def test_without_degradations_it_is_a_reduction_in_place(hr_nchw: Tensor, scale: int) -> None:
    """Every crude filter stays near MATLAB's reduction, nearer than one shifted by a fifth of a pixel would."""
    lr, target = degrade(hr_nchw, scale, NOTHING, (0,))
    assert torch.equal(target, hr_nchw)
    for image, hr in zip(lr, hr_nchw, strict=True):
        hr_hwc = (hr.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8)
        clean = reduce(hr_hwc, scale).astype(np.float64)
        ours = image.permute(1, 2, 0).numpy() * 255.0
        errors = {
            (down, right): np.abs(ours[2:-2, 2:-2] - shifted(clean, down, right)[2:-2, 2:-2]).mean()
            for down in (-0.4, 0.0, 0.4)
            for right in (-0.4, 0.0, 0.4)
        }
        assert min(errors, key=lambda shift: errors[shift]) == (0.0, 0.0)


def shifted(image_hwc: np.ndarray, down: float, right: float) -> np.ndarray:
    """The picture moved by a fraction of a pixel, linearly."""
    for axis, by in ((0, down), (1, right)):
        image_hwc = (1 - abs(by)) * image_hwc + abs(by) * np.roll(image_hwc, int(np.sign(by)), axis=axis)
    return image_hwc


@pytest.mark.parametrize(
    "change",
    [
        {"sharpen": True},
        {"final_sinc": 1.0},
        {"first": replace(QUIET, blur=1.0)},
        {"second": replace(QUIET, blur=1.0)},
        {"first": replace(QUIET, resize=(0, 1, 0), factor=(0.2, 1.0))},
        {"second": replace(QUIET, resize=(0, 1, 0), factor=(0.2, 1.0))},
        {"first": replace(QUIET, sigma=(30, 30))},
        {"second": replace(QUIET, gaussian=0, poisson=(2, 2))},
        {"first": replace(QUIET, quality=(5, 5))},
        {"second": replace(QUIET, quality=(30, 30)), "jpeg_last": 0.0},
        {"second": replace(QUIET, quality=(30, 30)), "jpeg_last": 1.0},
    ],
)
def test_every_step_takes_part(hr_nchw: Tensor, change: dict[str, Process | float | bool]) -> None:
    """Each setting, alone, moves the picture by more than the reduction's own filter does."""
    config = replace(NOTHING, **change)  # type: ignore[arg-type]
    lr, _ = degrade(hr_nchw[:1], 4, config, (2,))
    quiet, _ = degrade(hr_nchw[:1], 4, NOTHING, (2,))
    assert (lr - quiet).abs().mean() > 1 / 255


def test_noise_of_the_second_process_is_added_at_the_lr_size_and_differs_between_samples() -> None:
    gray_nchw = torch.full((3, 3, 256, 256), 0.5)
    second = replace(QUIET, sigma=(20, 20), gray=0)
    lr, _ = degrade(gray_nchw, 4, replace(NOTHING, second=second), (0,))
    noise = (lr - 0.5) * 255
    # JPEG of quality 100 still halves the resolution of colour, so only the brightness shows the full noise
    brightness = torch.einsum("c,nchw->nhw", torch.tensor([0.299, 0.587, 0.114]), noise)
    expected = 20 * math.hypot(0.299, 0.587, 0.114)
    assert float(brightness.std()) == pytest.approx(expected, rel=0.03)
    assert torch.corrcoef(brightness.flatten(1)).fill_diagonal_(0).abs().max() < 5 / 64


def test_small_samples_work() -> None:
    images = torch.rand(6, 3, 16, 24)
    for scale in (2, 4):
        lr, _ = degrade(images, scale, SecondOrder(), (0,))
        assert lr.shape == (6, 3, 16 // scale, 24 // scale)
        assert bool(lr.isfinite().all())


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (1, 1, 32, 32), (1, 3, 30, 32), (1, 3, 32, 33)])
def test_impossible_samples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="divisible by 4"):
        degrade(torch.zeros(shape), 4, SecondOrder(), (0,))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_repeats_and_stays_near_the_processor(hr_nchw: Tensor) -> None:
    config = replace(
        SecondOrder(),
        first=replace(Process(), gaussian=1, sigma=(0, 0)),
        second=replace(SecondOrder().second, gaussian=1, sigma=(0, 0)),
    )
    first, _ = degrade(hr_nchw.cuda(), 4, SecondOrder(), (1,))
    again, _ = degrade(hr_nchw.cuda(), 4, SecondOrder(), (1,))
    assert torch.equal(first, again)
    without_noise, _ = degrade(hr_nchw.cuda(), 4, config, (1,))
    assert (without_noise.cpu() - degrade(hr_nchw, 4, config, (1,))[0]).abs().mean() < 0.5 / 255
