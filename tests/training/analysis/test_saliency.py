"""Channel saliency against finite differences and arithmetic done in another way."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.errors import ModelFileError, RepsrError, UsageError
from repsr_deploy.nets.network import Network
from repsr_train.analysis.features import layers_of, run_with_change
from repsr_train.analysis.saliency import LayerSaliency, gini, saliency, total_gradient
from tests.nets.networks import randomized, spec_of


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def t_by_hand(image_nchw: NDArray[np.float64]) -> float:
    return sum(
        math.hypot(plane[y + 1, x] - plane[y, x], plane[y, x + 1] - plane[y, x])
        for plane in image_nchw.reshape(-1, *image_nchw.shape[-2:])
        for y, x in itertools.product(range(plane.shape[0] - 1), range(plane.shape[1] - 1))
    )


def test_t_is_the_sum_of_gradient_lengths() -> None:
    image = random_image(2, 3, 5, 8)
    assert total_gradient(image).item() == pytest.approx(t_by_hand(image.numpy()), rel=1e-12)


def test_gradient_of_t_against_finite_differences() -> None:
    image = random_image(1, 2, 5, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(total_gradient(image), image)
    step = 1e-6
    for place in itertools.product(*map(range, image.shape)):
        shifted = [image.detach().clone() for _ in range(2)]
        shifted[0][place] += step
        shifted[1][place] -= step
        difference = (total_gradient(shifted[0]) - total_gradient(shifted[1])).item() / (2 * step)
        assert gradient[place].item() == pytest.approx(difference, abs=1e-7)


def test_flat_areas_have_the_gradient_zero() -> None:
    image = torch.full((1, 1, 6, 6), 0.3, dtype=torch.float64)
    image[..., 4, 4] = 0.9
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(total_gradient(image), image)
    assert bool(gradient.isfinite().all())
    assert bool((gradient[..., :3, :3] == 0).all())
    assert gradient[0, 0, 4, 4].item() == pytest.approx(
        2 + math.sqrt(2)
    )  # its own two differences, and two neighbours'
    dark = torch.zeros(1, 1, 4, 4, dtype=torch.float16).requires_grad_()
    assert bool((torch.autograd.grad(total_gradient(dark), dark)[0] == 0).all())


def derivative(net: Network, image: Tensor, layer: str, place: tuple[int, int, int]) -> float:
    """dT/dF at one number of a feature map, by finite differences."""
    step = 1e-6

    def t_with(shift: float) -> float:
        def change(features: Tensor) -> Tensor:
            moved = features.clone()
            moved[(0, *place)] += shift
            return moved

        return total_gradient(run_with_change(net, image, layer, change)).item()

    with torch.no_grad():
        return (t_with(step) - t_with(-step)) / (2 * step)


@pytest.mark.parametrize(("family", "colour"), [("srresnet-dropout", "rgb"), ("edsr-adadm", "rgb"), ("repsr", "y")])
def test_maps_follow_the_derivatives_by_every_layer(family: str, colour: str) -> None:
    net = randomized(spec_of(family, colour=colour)).double().eval()
    image = random_image(1, net.spec.colours, 6, 7, seed=1)
    found = saliency(net, image)
    assert list(found) == list(layers_of(net).channels)
    random = np.random.default_rng(2)
    for layer, each in found.items():
        peak = tuple(int(index) for index in np.unravel_index(each.maps_chw.argmax(), each.maps_chw.shape))
        places = [peak, *(tuple(int(random.integers(side)) for side in each.maps_chw.shape) for _ in range(4))]
        values = np.array([abs(derivative(net, image, layer, (c, y, x))) for c, y, x in places])
        assert each.maps_chw[peak] == 1
        expected = values / values[0]
        np.testing.assert_allclose([each.maps_chw[place] for place in places], expected, rtol=1e-4, atol=1e-5)


def test_scores_are_sums_and_shares_add_up_to_one() -> None:
    net = randomized(spec_of("srresnet")).eval()
    found = saliency(net, random_image(1, 3, 9, 8).float())
    assert found["hr"].maps_chw.shape == (8, 18, 16)
    assert found["last"].maps_chw.shape == (3, 18, 16)
    for each in found.values():
        assert each.maps_chw.min() >= 0
        assert each.maps_chw.max() == 1
        by_hand = [sum(map(float, channel.ravel())) for channel in each.maps_chw]
        np.testing.assert_allclose(each.scores, by_hand, rtol=1e-9)
        assert each.shares.sum() == pytest.approx(1)
        assert (np.diff(each.scores[each.order]) <= 0).all()
        assert sorted(each.order) == list(range(len(each.scores)))


def test_saliency_leaves_the_network_and_the_image_alone() -> None:
    net = randomized(spec_of("repsr")).eval()
    image = random_image(1, 3, 8, 8).float()
    before = image.clone()
    with torch.no_grad():  # it needs gradients all the same
        saliency(net, image)
    assert torch.equal(image, before)
    assert not image.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("n", [2, 3, 8, 33])
def test_gini_is_the_mean_difference_over_twice_the_mean(n: int) -> None:
    scores = np.random.default_rng(n).gamma(0.5, size=n)
    pairs = [abs(a - b) for a, b in itertools.permutations(scores, 2)]
    assert gini(scores) == pytest.approx(float(np.mean(pairs)) / (2 * scores.mean()), rel=1e-9)
    assert gini(np.full(n, 0.7)) == pytest.approx(0, abs=1e-12)
    assert gini(np.eye(n)[n // 2]) == pytest.approx(1)


def test_gini_orders_layers() -> None:
    def layer(scores: list[float]) -> LayerSaliency:
        return LayerSaliency(maps_chw=np.ones((len(scores), 1, 1), np.float32), scores=np.array(scores))

    assert layer([1, 1, 1]).gini < layer([2, 1, 1]).gini < layer([9, 1, 1]).gini
    assert layer([5]).gini == 0


def test_a_layer_that_does_nothing_is_an_error() -> None:
    net = randomized(spec_of("repsr")).eval()
    with torch.no_grad():
        for parameter in net.get_submodule("tail").parameters():
            parameter.zero_()
    with pytest.raises(RepsrError, match="does not depend on layer head of RepSR-M2C8"):
        saliency(net, random_image(1, 3, 8, 8).float())


def test_broken_weights_and_training_mode_are_refused() -> None:
    net = randomized(spec_of("srresnet")).eval()
    with torch.no_grad():
        next(net.get_submodule("tail").parameters())[0, 0, 0, 0] = math.nan
    with pytest.raises(ModelFileError, match="nan; the network's weights are broken"):
        saliency(net, random_image(1, 3, 8, 8).float())
    with pytest.raises(UsageError, match="training mode"):
        saliency(net.train(), random_image(1, 3, 8, 8).float())
