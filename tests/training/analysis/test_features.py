"""Named feature maps of every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repsr_deploy.errors import UsageError
from repsr_train.analysis.features import check_layers, layers_of, run_with_change, run_with_features
from tests.nets.networks import FAMILIES, randomized, spec_of


def image(colours: int = 3, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((1, colours, 7, 9)))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_last_convolution_reads_is_known(family: str) -> None:
    net = randomized(spec_of(family)).double().eval()
    read: list[Tensor] = []
    tail = net.get_submodule("tail")
    assert isinstance(tail, nn.Module)
    tail.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    output, features = run_with_features(net, image())
    layers = layers_of(net)
    assert list(features) == list(layers.channels)
    assert {name: each.shape[1] for name, each in features.items()} == layers.channels
    assert torch.equal(features[layers.before_last_convolution], read[0])
    assert torch.equal(output, net(image()))


def test_defaults_of_srresnet_and_of_a_network_without_upsampler() -> None:
    layers = layers_of(randomized(spec_of("srresnet")).eval())
    assert list(layers.channels) == ["first", "b1", "b2", "hr", "last"]
    assert (layers.before_last_convolution, layers.deepest_at_lr) == ("hr", "b2")
    layers = layers_of(randomized(spec_of("srresnet", scale=1)).eval())
    assert (layers.before_last_convolution, layers.deepest_at_lr) == ("hr", "hr")
    layers = layers_of(randomized(spec_of("repsr", colour="y")).eval())
    assert (layers.before_last_convolution, layers.deepest_at_lr) == ("body.1", "body.1")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_changed_feature_may_become_a_batch(family: str) -> None:
    net = randomized(spec_of(family)).double().eval()
    for name in layers_of(net).channels:
        factors = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64).view(3, 1, 1, 1)
        together = run_with_change(net, image(), name, lambda features, factors=factors: features * factors)
        for factor, output in zip(factors, together, strict=True):
            alone = run_with_change(net, image(), name, lambda features, factor=factor: features * factor)
            assert torch.allclose(output, alone[0], rtol=0, atol=1e-12)
        assert torch.allclose(together[0], net(image())[0], rtol=0, atol=1e-12)
        assert not torch.allclose(together[0], together[1])


def test_an_unknown_layer_is_named_with_the_nearest_and_all_others() -> None:
    net = randomized(spec_of("srresnet")).eval()
    with pytest.raises(UsageError, match=r"no layer 'b22'; did you mean 'b2'\? its layers are first, b1, b2, hr, last"):
        check_layers(net, ["b1", "b22"])
    with pytest.raises(UsageError, match="no layer 'xyz'; its layers are first, b1, b2, hr, last"):
        check_layers(net, ["xyz"])


def test_training_mode_is_refused_before_statistics_move() -> None:
    net = randomized(spec_of("repsr"))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(UsageError, match=r"RepSR-M2C8 is in training mode; call eval\(\)"):
        layers_of(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
