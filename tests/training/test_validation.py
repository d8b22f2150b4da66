"""Validation: the protocol of the evaluation, degradations, sample pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from repsr_deploy.folding.fold import folded
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.evaluate import evaluate
from repsr_deploy.nets.network import build
from repsr_deploy.nets.norm import norms_of
from repsr_train.batches import to_network
from repsr_train.data import Pair
from repsr_train.recipes import recipe
from repsr_train.validation import SAMPLE_SIDE, SAMPLES, validate

from .conftest import CPU, middle_pair


def test_validation_is_the_evaluation_protocol(pairs: Sequence[Pair], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build(recipe("repsr-m1c4-x2").network).eval()
    for norm in norms_of(net):
        norm.running_var = torch.rand_like(norm.weight.detach()) + 0.5

    def upscale(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.no_grad():
            output = net(to_network(image_hwc.transpose(2, 0, 1)[None].copy(), "rgb", CPU)).clamp(0, 1)[0]
        return (output * 255).round().byte().permute(1, 2, 0).numpy()

    paths = [tmp_path / f"{pair.name}.png" for pair in pairs]
    for path, pair in zip(paths, pairs, strict=True):
        write_image(path, pair.hr_hwc)
    expected = evaluate(upscale, 2, paths, metrics=("psnr_y",), bicubic=False).model.psnr_y
    assert validate(net, pairs).psnr_y == pytest.approx(expected, abs=1e-3)


def test_a_perfect_network_scores_high_and_a_luma_network_is_scored_on_luma(pairs: Sequence[Pair]) -> None:
    net = build(recipe("plain-m1c4-x1-y").network)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)  # what is left is the skip: the identity at scale 1
    same = [Pair(pair.name, pair.hr_hwc, pair.hr_hwc) for pair in pairs]
    validation = validate(net, same)
    assert validation.psnr_y > 55  # the output is rounded, the reference is not
    assert validation.samples[0].output_hwc.shape[2] == 3


def test_samples_show_the_same_place_three_times() -> None:
    net = build(recipe("plain-m1c4-x3").network)
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)  # nearest-neighbour enlargement
    pairs = [middle_pair(name, side, scale=3) for name, side in (("coffee", 399), ("chelsea", 90))] * 3
    validation = validate(net, pairs)
    assert len(validation.samples) == SAMPLES
    large, small = validation.samples[:2]
    assert large.lr_hwc.shape == (SAMPLE_SIDE, SAMPLE_SIDE, 3)
    assert small.lr_hwc.shape == (30, 30, 3)
    for sample in (large, small):
        nearest = sample.lr_hwc.repeat(3, axis=0).repeat(3, axis=1)
        assert np.array_equal(sample.output_hwc, nearest)
        assert np.abs(sample.hr_hwc.astype(int) - nearest).mean() < 10
        shifted = np.abs(np.roll(sample.hr_hwc, 3, axis=0).astype(int) - nearest).mean()
        assert np.abs(sample.hr_hwc.astype(int) - nearest).mean() < shifted


def test_degradations_are_scored_apart(pairs: Sequence[Pair]) -> None:
    net = folded(build(recipe("plain-m1c4-x2").network))
    scores = validate(net, pairs[:2], degraded=True).degraded
    assert len(scores) == 8
    assert scores["clean"] > scores["blur"] > scores["blur+noise+jpeg"]
    assert validate(net, pairs[:2]).degraded == {}
    assert validate(net, pairs[:2], degraded=True).degraded == scores
