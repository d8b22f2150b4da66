"""The moving average: its formula, and that it is right about BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from repsr_deploy.nets.network import build
from repsr_deploy.nets.norm import norms_of
from repsr_train.data import Pair
from repsr_train.ema import WeightAverage, measure_statistics
from repsr_train.recipes import recipe
from repsr_train.trainer import Hooks, train

from .conftest import training_of


@pytest.mark.parametrize(("share", "moved"), [(1.0, 0.1), (0.0, 0.0)])
def test_average_is_the_formula_and_stays_where_a_step_was_skipped(share: float, moved: float) -> None:
    net = build(recipe("plain-m1c4-x2").network)
    average = WeightAverage(net, 0.9)
    old = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    average.update(torch.tensor(share))
    for key, value in average.average.state_dict().items():
        torch.testing.assert_close(value, old[key] + moved)


def test_average_has_the_statistics_of_its_own_weights(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs, "repsr-m1c4-x2", "population_from=1", "ema_decay=0.9")
    train(learner, batches, Hooks())
    average = learner.averaged(batches.statistics(learner.step))
    norm = norms_of(average)[0]
    outputs: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        outputs.append(output)

    average.get_submodule("body.0.paths.0.expand").register_forward_hook(keep)
    for lr_nchw in batches.statistics(learner.step):
        average(lr_nchw)
    measured = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, measured, rtol=1e-4, atol=1e-5)
    raw = norms_of(learner.net)[0].running_mean
    assert raw is not None
    assert not torch.allclose(raw, measured, rtol=1e-3, atol=1e-4)


def test_measuring_leaves_a_switched_network_alone(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs)
    train(learner, batches, Hooks())
    before = {key: value.clone() for key, value in learner.net.named_buffers()}
    measure_statistics(learner.net, [torch.rand(2, 3, 8, 8)])
    assert all(torch.equal(value, before[key]) for key, value in learner.net.named_buffers())


def test_measuring_asks_no_other_process_and_restores_what_it_found(pairs: Sequence[Pair]) -> None:
    learner, batches = training_of(pairs)

    def refuse(_tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("asked another process")

    for norm in norms_of(learner.net):
        norm.mean_over_processes = refuse
    momentum = norms_of(learner.net)[0].momentum
    measure_statistics(learner.net, batches.statistics(0))
    assert all(norm.mean_over_processes is refuse and norm.momentum == momentum for norm in norms_of(learner.net))
    assert learner.net.training
