"""Folding our networks: equal at every pixel, whatever the mode; planted errors are caught."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch

from repsr_deploy.errors import FoldError, ProofError
from repsr_deploy.folding import fold as fold_module
from repsr_deploy.folding.fold import fold, folded_parameters
from repsr_deploy.folding.forward import folded_forward
from repsr_deploy.folding.proof import compare, prove
from repsr_deploy.nets.ecbsr import ExpandBranch
from repsr_deploy.nets.network import Network, build, linear_layers
from repsr_deploy.nets.norm import ModifiedBatchNorm2d
from tests.nets.networks import FAMILIES, randomized, spec_of

Plant = Callable[[dict[str, torch.Tensor], Network], None]


def photograph(height: int, width: int) -> torch.Tensor:
    crop_hwc = skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width].astype(np.float64) / 255
    return torch.from_numpy(crop_hwc.transpose(2, 0, 1)[None].copy())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0])
def test_fold_is_exact_in_float64(family: str, scale: int, seed: int) -> None:
    net = randomized(spec_of(family, scale=scale, blocks=3, channels=12), seed)
    result = fold(net, {"photograph": photograph(45, 61)})
    whole = result.proof.whole
    assert max(whole.max_error_interior, whole.max_error_border) <= 1e-10 * whole.range
    assert result.proof.passed
    assert len(result.proof.sites) == len(linear_layers(net))
    assert "photograph 61x45" in result.proof.probes
    assert result.net.spec == net.spec.folded
    assert not result.net.training


@pytest.mark.parametrize("family", FAMILIES)
def test_fold_does_not_depend_on_the_mode(family: str) -> None:
    net = randomized(spec_of(family))
    trained, evaluated = fold(net.train()).net.state_dict(), fold(net.eval()).net.state_dict()
    assert all(torch.equal(value, evaluated[key]) for key, value in trained.items())


@pytest.mark.parametrize("training", [True, False])
def test_fold_does_not_modify_its_input(training: bool) -> None:
    net = randomized(spec_of("repsr")).train(training)
    before = copy.deepcopy(net.state_dict())
    result = fold(net)
    assert net.training is training
    assert all(module.training is training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    result.net.get_parameter("head.weight").data.zero_()
    assert net.get_parameter("head.weight").abs().max() > 0  # the result shares no memory with the input


def test_folded_network_keeps_the_data_type() -> None:
    net = randomized(spec_of("repsr"))
    assert {value.dtype for value in fold(net).net.state_dict().values()} == {torch.float32}
    assert {value.dtype for value in fold(net.double()).net.state_dict().values()} == {torch.float64}


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_through_the_fold_are_those_of_the_branches(family: str) -> None:
    net = randomized(spec_of(family)).double().eval()
    x_nchw = torch.rand(2, 3, 11, 13, dtype=torch.float64)
    expected_output = net(x_nchw)
    expected_output.square().mean().backward()
    expected = {
        name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None
    }
    net.zero_grad()
    output = folded_forward(net, x_nchw)
    torch.testing.assert_close(output, expected_output, rtol=0, atol=1e-10)
    output.square().mean().backward()
    assert expected
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-8, atol=1e-10)


def wrong_epsilon(parameters: dict[str, torch.Tensor], net: Network) -> None:
    wrong = copy.deepcopy(net)
    for module in wrong.modules():
        if isinstance(module, ModifiedBatchNorm2d):
            module.eps = 1e-7
    parameters.update(folded_parameters(wrong))


def missed_bias(parameters: dict[str, torch.Tensor], net: Network) -> None:
    parameters["body.1.bias"] = parameters["body.1.bias"] - net.get_parameter("body.1.paths.0.squeeze.bias").double()


def one_weight_off(parameters: dict[str, torch.Tensor], net: Network) -> None:
    parameters["body.0.weight"][3, 2, 0, 1] += 1e-6


def nan_weight(parameters: dict[str, torch.Tensor], net: Network) -> None:
    parameters["tail.weight"][0, 0, 1, 1] = torch.nan


@pytest.mark.parametrize(
    ("plant", "site"),
    [(wrong_epsilon, "body.0"), (missed_bias, "body.1"), (one_weight_off, "body.0"), (nan_weight, "tail")],
)
def test_planted_errors_are_caught(plant: Plant, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = randomized(spec_of("repsr"))

    def planted(original: Network) -> dict[str, torch.Tensor]:
        parameters = folded_parameters(original)
        plant(parameters, original)
        return parameters

    monkeypatch.setattr(fold_module, "folded_parameters", planted)
    with pytest.raises(ProofError, match=f"first at {site} .*smallest tolerance that would pass"):
        fold(net)


def test_zero_padding_after_a_1x1_with_bias_is_refused_and_its_fold_fails_at_the_border(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = randomized(spec_of("ecbsr")).double().eval()
    right = build(net.spec.folded).double().eval()
    right.load_state_dict(folded_parameters(net))

    def zero_padded(branch: ExpandBranch, x_nchw: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(branch.expand(x_nchw), branch.squeeze.weight, branch.squeeze.bias, padding=1)

    monkeypatch.setattr(ExpandBranch, "forward", zero_padded)  # the network now pads with zeros between 1x1 and 3x3
    x_nchw = photograph(31, 37)
    with torch.no_grad():
        layer, folded = net.get_submodule("head"), right.get_submodule("head")
        difference = compare([(layer(x_nchw), folded(x_nchw))], border=1, tolerance=1e-10)
    assert difference.max_error_interior < 1e-10
    assert difference.max_error_border > 1e-2
    with pytest.raises(ProofError, match="first at head"):
        prove(net, right, right, {})

    def zero_padded_chain(branch: ExpandBranch) -> list[object]:
        from repsr_deploy.folding.algebra import conv

        return [conv(branch.expand.weight, branch.expand.bias), conv(branch.squeeze.weight, branch.squeeze.bias)]

    monkeypatch.setattr(ExpandBranch, "chain", zero_padded_chain)  # and says so: the algebra must refuse it
    with pytest.raises(FoldError, match=r"ECBSR-M2C8, head: no values subtracted"):
        fold(net)


def test_compare_can_fail_apart_at_border_and_interior() -> None:
    reference = torch.linspace(0, 1, 2 * 9 * 9, dtype=torch.float64).view(1, 2, 9, 9)
    equal = compare([(reference, reference.clone())], border=2, tolerance=1e-10)
    assert equal.passed
    assert equal.relative_error == 0
    for place, interior in (((0, 1, 4, 4), True), ((0, 0, 0, 5), False), ((0, 1, 7, 3), False)):
        other = reference.clone()
        other[place] += 1e-9
        found = compare([(reference, other)], border=2, tolerance=1e-10)
        assert not found.passed
        assert (found.max_error_interior > 0) is interior
        assert (found.max_error_border > 0) is not interior
    other = reference.clone()
    other[0, 0, 4, 4] = torch.nan
    assert not compare([(reference, other)], border=2, tolerance=1e-10).passed
    with pytest.raises(ValueError, match="shapes differ"):
        compare([(reference, reference[:, :1])], border=2, tolerance=1e-10)
    with pytest.raises(ValueError, match="no interior"):
        compare([(reference, reference)], border=5, tolerance=1e-10)


def test_range_is_that_of_all_images() -> None:
    flat, steep = torch.full((1, 1, 9, 9), 0.5, dtype=torch.float64), torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    steep[0, 0, 0, 0] = 1
    off = flat + 1e-11
    assert not compare([(flat, off)], border=1, tolerance=1e-10).passed
    assert compare([(flat, off), (steep, steep)], border=1, tolerance=1e-10).passed
    assert not compare([(flat, flat + 1e-9), (steep, steep)], border=1, tolerance=1e-10).passed


def test_a_network_that_answers_flat_images_flatly_passes() -> None:
    net = randomized(spec_of("repsr", blocks=4, channels=16))
    with torch.no_grad():  # as a trained network: on a flat image it adds next to nothing to its skip
        net.get_parameter("tail.weight").mul_(1e-3)
        net.get_parameter("tail.bias").mul_(1e-3)
    assert fold(net).proof.passed


def test_proof_is_json_with_rows_and_costs() -> None:
    report = json.loads(fold(randomized(spec_of("repsr", blocks=4, channels=16))).proof.to_json())
    assert report["summary"]["passed"] is True
    assert report["summary"]["parameters_after"] == 11_548
    assert [row["site"] for row in report["sites"]] == ["head", "body.0", "body.1", "body.2", "body.3", "tail"]
    assert report["sites"][1]["rule"] == "1x1 + 3x3*1x1*1x1 + 3x3*1x1*1x1 -> 3x3"
    assert all(row["outcome"] == "exact" for row in report["sites"])
    assert report["after"]["nodes"] < report["before"]["nodes"]
    assert report["kept"] == []


def test_images_on_which_the_network_itself_overflows_are_named_and_not_compared() -> None:
    net = randomized(spec_of("plain"))
    with torch.no_grad():
        net.get_parameter("tail.bias")[0] = torch.inf
    with pytest.raises(ProofError, match="itself overflows on every probe image"):
        fold(net)
    with torch.no_grad():
        net.get_parameter("tail.bias")[0] = 0
    probes = fold(net, {"huge": torch.full((1, 3, 21, 21), torch.inf)}).proof.probes
    assert probes[-1] == "huge 21x21 (not compared: the network itself overflows)"
    assert not any("not compared" in probe for probe in probes[:-1])
