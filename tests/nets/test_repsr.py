"""The modified BatchNorm: two phases, a switch that lasts, statistics absorbed without changing the function."""

from __future__ import annotations

import torch

from repsr_deploy.nets.norm import use_population_statistics, uses_batch_statistics
from repsr_deploy.nets.repsr import ExpandSqueeze
from tests.nets.networks import randomized, spec_of


def paths_of(net: torch.nn.Module) -> list[ExpandSqueeze]:
    return [module for module in net.modules() if isinstance(module, ExpandSqueeze)]


def test_switch_survives_every_later_train() -> None:
    net = randomized(spec_of("repsr")).train()
    assert uses_batch_statistics(net)
    use_population_statistics(net)
    net.eval().train()
    net.train(True)
    assert net.training
    assert not uses_batch_statistics(net)
    before = {key: value.clone() for key, value in net.named_buffers()}
    net(torch.rand(4, 3, 12, 12))
    assert before
    assert all(torch.equal(value, before[key]) for key, value in net.named_buffers())


def test_first_phase_uses_the_mini_batch_and_updates_statistics() -> None:
    net = randomized(spec_of("repsr")).train()
    images_nchw = torch.rand(4, 3, 12, 12)
    before = {key: value.clone() for key, value in net.named_buffers()}
    in_batch = net(images_nchw)[:1]
    assert not torch.allclose(in_batch, net(images_nchw[:1]), atol=1e-3)  # another batch, other statistics
    assert any(not torch.equal(value, before[key]) for key, value in net.named_buffers())


def test_affine_parameters_stay_trainable_after_the_switch() -> None:
    net = randomized(spec_of("repsr")).train()
    use_population_statistics(net)
    net(torch.rand(2, 3, 12, 12)).square().mean().backward()
    for path in paths_of(net):
        assert path.norm is not None
        for parameter in (path.norm.weight, path.norm.bias):
            assert parameter.requires_grad
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0


def test_switch_changes_nothing_that_the_network_computes() -> None:
    net = randomized(spec_of("repsr")).double().eval()
    x_nchw = torch.rand(1, 3, 13, 17, dtype=torch.float64)
    before = net(x_nchw)
    use_population_statistics(net)
    use_population_statistics(net)  # a second call must not absorb twice
    torch.testing.assert_close(net(x_nchw), before, rtol=0, atol=1e-12)
    for path in paths_of(net):
        assert path.norm is not None
        assert path.norm.running_var is not None
        deviation = torch.sqrt(path.norm.running_var + path.norm.eps)
        torch.testing.assert_close(deviation, torch.ones_like(deviation))
