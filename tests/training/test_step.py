"""One training step: phases, folded training, dropout, clipping, skipped steps, precision."""

from __future__ import annotations

import copy
import math
import shutil
import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from repsr_deploy.nets.network import build
from repsr_deploy.nets.norm import norms_of, use_population_statistics, uses_batch_statistics
from repsr_train.data import Pair
from repsr_train.recipes import recipe
from repsr_train.step import Learner, training_forward

from .conftest import Training, training_of


def weights_of(learner: Learner) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in learner.net.state_dict().items()}


def learn(training: Training, steps: int) -> None:
    learner, batches = training
    for crops in batches.between(learner.step, learner.step + steps):
        learner.learn(*crops)


@pytest.mark.parametrize("name", ["repsr-m2c6-x2", "ecbsr-m2c6-x2", "edsr-adadm-m2c6-x2", "wdsr-b-m2c6-x2"])
def test_folded_training_has_the_gradients_of_the_branches(name: str) -> None:
    torch.manual_seed(1)
    net = build(recipe(name).network).double()
    for norm in norms_of(net):
        norm.running_mean = torch.randn_like(norm.weight.detach())
        norm.running_var = torch.rand_like(norm.weight.detach()) + 0.5
    use_population_statistics(net)
    twin = copy.deepcopy(net)
    x_nchw = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    training_forward(net, x_nchw).square().mean().backward()
    twin(x_nchw).square().mean().backward()
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-12)


def test_switch_starts_the_second_phase(pairs: Sequence[Pair]) -> None:
    training = training_of(pairs, "repsr-m1c4-x2", "freeze_affine=true", "ema_decay=0.9")
    learner, batches = training
    learn(training, 3)
    moments = learner.optimizer.state
    assert uses_batch_statistics(learner.net)
    learner.switch_to_population(batches.statistics(learner.step))
    assert not uses_batch_statistics(learner.net)
    assert learner.optimizer.state is not moments
    assert not learner.optimizer.state
    assert all(
        torch.equal(a, b) for a, b in zip(learner.net.parameters(), learner.average.average.parameters(), strict=True)
    )
    norm = norms_of(learner.net)[0]
    gamma, mean = norm.weight.detach().clone(), norm.running_mean
    learn(training, 3)
    assert torch.equal(norm.weight, gamma)
    assert norm.running_mean is mean


def test_gamma_is_trained_unless_frozen(pairs: Sequence[Pair]) -> None:
    training = training_of(pairs)
    training.learner.switch_to_population(training.batches.statistics(0))
    gamma = norms_of(training.learner.net)[0].weight.detach().clone()
    learn(training, 2)
    assert not torch.equal(norms_of(training.learner.net)[0].weight, gamma)


def test_dropout_depends_on_seed_and_step_alone(pairs: Sequence[Pair]) -> None:
    changes = ("network.dropout_kind=element", "degradation=bicubic", "usm=false", "patch=12", "lr=1e-3")
    first, second = (training_of(pairs, "srresnet-dropout-m1c4-x2", *changes) for _ in range(2))
    learn(first, 3)
    for crops in second.batches.between(0, 3):
        torch.rand(5)  # whatever else draws random numbers in between
        second.learner.learn(*crops)
    ours, theirs = weights_of(first.learner), weights_of(second.learner)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    crops = next(first.batches.between(0, 1))
    outputs: list[Tensor] = []
    for step in (0, 1):
        first.learner.step = step
        first.learner.learn(*crops)
        first.learner.net.load_state_dict(ours)
        outputs.append(first.learner.guard.tensors["losses"][step])
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_a_bad_step_leaves_everything_as_it_was(optimizer: str, pairs: Sequence[Pair]) -> None:
    training = training_of(pairs, "ecbsr-m1c4-x2", f"optimizer={optimizer}", "ema_decay=0.5")
    learner, batches = training
    learn(training, 4)
    before, average = weights_of(learner), learner.average.average.state_dict()
    average = {key: value.clone() for key, value in average.items()}
    moments = [
        {key: value.clone() for key, value in learner.optimizer.state[parameter].items()}
        for parameter in learner.net.parameters()
    ]
    lr_nchw, hr_nchw = next(batches.between(4, 5))
    learner.learn(lr_nchw * math.nan, hr_nchw)
    learner.learn(lr_nchw, hr_nchw + 1e6)
    assert list(learner.guard.look(4, 6).skipped) == [4, 5]
    after, later = weights_of(learner), learner.average.average.state_dict()
    assert all(torch.equal(before[key], after[key]) and torch.equal(average[key], later[key]) for key in before)
    for parameter, old in zip(learner.net.parameters(), moments, strict=True):
        assert all(torch.equal(value, learner.optimizer.state[parameter][key]) for key, value in old.items())
    learn(training, 1)
    assert not all(torch.equal(before[key], value) for key, value in weights_of(learner).items())


def test_clipping_bounds_the_gradient(pairs: Sequence[Pair]) -> None:
    norms: list[float] = []
    for clip in (0, 1e-3):
        training = training_of(pairs, "plain-m1c4-x2", f"grad_clip={clip}")
        learn(training, 1)
        gradients = [parameter.grad for parameter in training.learner.net.parameters() if parameter.grad is not None]
        norms.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())
    assert norms[0] > 2e-3
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


def test_bf16_is_near_fp32_and_weights_stay_float32(pairs: Sequence[Pair]) -> None:
    losses: list[float] = []
    for precision in ("fp32", "bf16"):
        training = training_of(pairs, "edsr-adadm-m1c4-x2", f"precision={precision}")
        learn(training, 2)
        assert all(parameter.dtype == torch.float32 for parameter in training.learner.net.parameters())
        losses.append(training.learner.guard.look(0, 2).loss)
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_weights_are_taken_over_and_the_average_follows(pairs: Sequence[Pair]) -> None:
    learner = training_of(pairs, "plain-m1c4-x2").learner
    fresh, weight = learner.net.get_parameter("tail.weight").clone(), torch.rand(4, 3, 3, 3)
    learner.start_from({"head.weight": weight})
    assert torch.equal(learner.net.get_parameter("head.weight"), weight)
    assert torch.equal(learner.average.average.get_parameter("head.weight"), weight)
    assert torch.equal(learner.net.get_parameter("tail.weight"), fresh)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_training_has_the_losses_of_eager_training(pairs: Sequence[Pair]) -> None:
    losses: list[Tensor] = []
    with warnings.catch_warnings():  # the compiler's own, about its parts
        warnings.simplefilter("ignore")
        for choice in ("false", "true"):
            training = training_of(pairs, "plain-m1c4-x2", f"compile={choice}")
            learn(training, 3)
            losses.append(training.learner.guard.tensors["losses"][:3])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-6)
