"""The training loop on real photographs: it learns, it resumes bit for bit, its average is right about BatchNorm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from repsr_deploy.checkpoint import CheckpointInfo
from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.metrics.evaluate import evaluate
from repsr_deploy.nets.network import build
from repsr_deploy.nets.repsr import uses_batch_statistics
from repsr_train.batches import to_network
from repsr_train.data import CropSampler, Pair, load_photographs
from repsr_train.ema import WeightAverage, measure_statistics
from repsr_train.recipes import Recipe, override, recipe
from repsr_train.trainer import Progress, Trainer, learning_rate
from repsr_train.validation import validation_psnr

CPU = torch.device("cpu")
SMALL = ("batch=4", "patch=12", "validate_every=5", "steps=20", "warmup=2", "population_from=0.5")


@pytest.fixture(scope="module")
def pairs(photographs: Path) -> Sequence[Pair]:
    return load_photographs(photographs, 2).pairs


def trainer_of(pairs: Sequence[Pair], name: str = "repsr-m1c4-x2", changes: Sequence[str] = SMALL) -> Trainer:
    chosen = override(recipe(name), changes)
    return Trainer(chosen, sampler_of(pairs, chosen), CPU)


def sampler_of(pairs: Sequence[Pair], chosen: Recipe) -> CropSampler:
    scale = chosen.network.scale
    return CropSampler(pairs, scale=scale, patch=chosen.patch, batch=chosen.batch, seed=chosen.seed)


@pytest.mark.parametrize("name", ["repsr-m2c8-x2", "ecbsr-m2c8-x2", "plain-m2c8-x2", "repsr-m2c8-x2-y"])
def test_training_beats_nearest_neighbour_and_loss_falls(name: str, pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs, name, (*SMALL, "steps=300", "validate_every=100", "ema_decay=0.95", "batch=8"))
    untrained = validation_psnr(trainer.net, pairs)
    reports: list[Progress] = []
    trainer.run(pairs, reports.append)
    assert [report.step for report in reports] == [100, 200, 300]
    assert reports[-1].loss < reports[0].loss
    assert reports[-1].psnr_y is not None
    assert reports[-1].psnr_y > untrained + 1


def test_training_is_the_same_every_time(pairs: Sequence[Pair]) -> None:
    first, second = trainer_of(pairs), trainer_of(pairs)
    for trainer in (first, second):
        trainer.run(pairs[:1], lambda _: None)
    other = trainer_of(pairs, changes=(*SMALL, "seed=1"))
    other.run(pairs[:1], lambda _: None)
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.net.parameters(), other.net.parameters(), strict=True))


@pytest.mark.parametrize("stop", [3, 10, 11, 17])  # in the first phase, at the switch (step 10), after it
@pytest.mark.parametrize("name", ["repsr-m1c4-x2", "ecbsr-m1c4-x2"])
def test_resumed_training_is_bit_identical(name: str, stop: int, pairs: Sequence[Pair], tmp_path: Path) -> None:
    whole = trainer_of(pairs, name)
    whole.run((), lambda _: None)
    first = trainer_of(pairs, name)
    first.run((), lambda _: None, lambda: first.step >= stop)
    assert first.step == stop
    first.save_state(tmp_path / "state.safetensors")
    second = trainer_of(pairs, name, (*SMALL, "seed=0"))
    second.load_state(tmp_path / "state.safetensors")
    second.run((), lambda _: None)
    for a, b in ((whole.net, second.net), (whole.averaged(), second.averaged())):
        assert a.state_dict().keys() == b.state_dict().keys()
        assert all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


def test_state_of_another_recipe_is_refused(pairs: Sequence[Pair], tmp_path: Path) -> None:
    trainer = trainer_of(pairs)
    trainer.save_state(tmp_path / "state.safetensors")
    with pytest.raises(ModelFileError, match=r"trained with lr=0\.002"):
        trainer_of(pairs, changes=(*SMALL, "lr=1e-3")).load_state(tmp_path / "state.safetensors")
    trainer.save_checkpoint(tmp_path / "net.safetensors", CheckpointInfo(spec=trainer.recipe.network))
    with pytest.raises(ModelFileError, match="no training state"):
        trainer.load_state(tmp_path / "net.safetensors")


def test_two_phases(pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs)
    phases: list[bool] = []
    trainer.run((), lambda _: None, lambda: phases.append(uses_batch_statistics(trainer.net)) or False)
    assert phases == [True] * 11 + [False] * 9  # asked before each step; the switch is the first thing in step 10
    statistics = {key: value.clone() for key, value in trainer.net.named_buffers()}
    trainer.step = 15
    trainer.run((), lambda _: None)
    assert all(torch.equal(value, statistics[key]) for key, value in trainer.net.named_buffers())


def test_average_has_the_statistics_of_its_own_weights(pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs, changes=(*SMALL, "population_from=1", "ema_decay=0.9"))
    trainer.run((), lambda _: None)
    average = trainer.averaged()
    norm = average.get_submodule("body.0.paths.0.norm")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    outputs: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        outputs.append(output)

    average.get_submodule("body.0.paths.0.expand").register_forward_hook(keep)
    for step in range(trainer.step, trainer.step + 50):
        average(to_network(trainer.sampler.draw(step)[0], "rgb", CPU))
    measured = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, measured, rtol=1e-4, atol=1e-5)
    raw = trainer.net.get_submodule("body.0.paths.0.norm")
    assert isinstance(raw, torch.nn.BatchNorm2d)
    assert raw.running_mean is not None
    assert not torch.allclose(raw.running_mean, measured, rtol=1e-3, atol=1e-4)


def test_moving_average_is_the_formula() -> None:
    net = build(recipe("plain-m1c4-x2").network)
    average = WeightAverage(net, 0.9)
    old = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    average.update()
    for key, value in average.average.state_dict().items():
        torch.testing.assert_close(value, old[key] + 0.1)


def test_measuring_statistics_leaves_a_switched_network_alone(pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs)
    trainer.run((), lambda _: None)
    before = {key: value.clone() for key, value in trainer.net.named_buffers()}
    measure_statistics(trainer.net, [torch.rand(2, 3, 8, 8)])
    assert all(torch.equal(value, before[key]) for key, value in trainer.net.named_buffers())


def test_validation_is_the_evaluation_protocol(pairs: Sequence[Pair], photographs: Path) -> None:
    net = trainer_of(pairs).net.eval()

    def upscale(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with torch.no_grad():
            output = net(to_network(image_hwc.transpose(2, 0, 1)[None].copy(), "rgb", CPU)).clamp(0, 1)[0]
        return (output * 255).round().byte().permute(1, 2, 0).numpy()

    paths = [photographs / pair.name for pair in pairs]
    expected = evaluate(upscale, 2, paths, metrics=("psnr_y",), bicubic=False).model.psnr_y
    assert validation_psnr(net, pairs) == pytest.approx(expected, abs=1e-3)


def test_learning_rate_warms_up_twice_and_ends_low() -> None:
    chosen = override(recipe("repsr-m4c16-x2"), ["steps=1000", "warmup=100", "lr=1e-3", "population_from=0.2"])
    rates = [learning_rate(chosen, step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5, rel=0.01)
    assert rates[100] > 0.9e-3
    assert rates[200] < 0.02 * rates[199]
    assert rates[-1] < 2e-6
    assert all(a > b for a, b in itertools.pairwise(rates[300:]))


def test_families_without_batch_norm_have_one_phase() -> None:
    chosen = override(recipe("ecbsr-m4c16-x2"), ["steps=1000", "warmup=100", "population_from=0.5"])
    assert learning_rate(chosen, 500) == pytest.approx(0.5 * chosen.lr, rel=1e-2)


def test_diverging_training_is_stopped(pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs)
    with torch.no_grad():
        trainer.net.get_parameter("head.weight").fill_(math.nan)
    with pytest.raises(RepsrError, match="the loss is nan at step 5; lower the learning rate"):
        trainer.run((), lambda _: None)


def test_weights_of_another_scale_are_taken_over_where_they_fit(pairs: Sequence[Pair]) -> None:
    trainer = trainer_of(pairs)
    source = trainer_of(pairs, "repsr-m1c4-x4").net.state_dict()
    assert trainer.start_from(source) == ["tail.bias", "tail.weight"]
    assert torch.equal(trainer.net.get_parameter("head.weight"), source["head.weight"])
    assert torch.equal(trainer.average.average.get_parameter("head.weight"), source["head.weight"])


def test_a_trained_network_goes_on_where_it_was(pairs: Sequence[Pair]) -> None:
    first = trainer_of(pairs, changes=(*SMALL, "steps=60", "validate_every=60"))
    first.run((), lambda _: None)
    with torch.no_grad():  # its features have moved away from the statistics of the switch
        first.net.get_parameter("head.weight").mul_(1.5)
    changes = (*SMALL, "population_from=0", "lr=1e-9", "lr_end=1e-9", "ema_decay=0")
    second = trainer_of(pairs, changes=changes)
    second.start_from(first.net.state_dict())
    second.run((), lambda _: None)
    assert validation_psnr(second.averaged(), pairs) == pytest.approx(validation_psnr(first.net, pairs), abs=1e-3)
