"""Weights from and for the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint, save_tensors
from repsr_deploy.errors import ModelFileError
from repsr_deploy.nets.network import Network, build
from repsr_train.interchange import fit, read_weights, save_pth
from repsr_train.recipes import recipe


def network(name: str = "plain-m2c4-x2", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build(recipe(name).network)


def assert_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_our_checkpoints_bring_their_history(tmp_path: Path) -> None:
    net = network("repsr-m1c4-x2")
    history = [{"stage": "train", "step": 7}]
    save_checkpoint(tmp_path / "ours.safetensors", net, CheckpointInfo(spec=net.spec, history=history))
    weights = read_weights(tmp_path / "ours.safetensors")
    assert_equal(weights.tensors, net.state_dict())
    assert weights.history == history
    save_tensors(tmp_path / "bare.safetensors", net.state_dict(), {})
    assert_equal(read_weights(tmp_path / "bare.safetensors").tensors, net.state_dict())


Tensors = dict[str, Tensor]

WRAPPERS: list[tuple[Callable[[Tensors, Tensors], dict[str, Any]], str]] = [
    (lambda good, _bad: {**good}, ""),
    (lambda good, bad: {"params": bad, "params_ema": good}, "params_ema"),
    (lambda good, _bad: {"params": good}, "params"),
    (lambda good, bad: {"model": bad, "state_dict_ema": good, "epoch": 3}, "state_dict_ema"),
    (lambda good, _bad: {"state_dict": {f"module.{key}": value for key, value in good.items()}}, "state_dict"),
    (lambda good, _bad: {"net": {f"module.netG.{key}": value for key, value in good.items()}}, "net"),
    (lambda good, _bad: {"model": {"params_ema": good}, "iter": 5}, "model.params_ema"),
]
"""Right and wrong weights -> what a file holds, and where the right ones are found."""


@pytest.mark.parametrize(("wrap", "found"), WRAPPERS)
def test_the_containers_of_the_field_are_unwrapped(
    wrap: Callable[[Tensors, Tensors], dict[str, Any]], found: str, tmp_path: Path
) -> None:
    good, bad = network(seed=1).state_dict(), network(seed=2).state_dict()
    torch.save(wrap(dict(good), dict(bad)), tmp_path / "net.pth")
    weights = read_weights(tmp_path / "net.pth")
    assert_equal(weights.tensors, dict(good))
    assert weights.found == found


class Compact(nn.Module):
    """SRVGGNetCompact, written from its description: convolutions and PReLU by turns, nearest skip."""

    def __init__(self, blocks: int, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 1, 1), nn.PReLU(channels)]
        for _ in range(blocks):
            layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, 3 * scale**2, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N x 3 x H x W -> N x 3 x sH x sW."""
        return nn.functional.pixel_shuffle(self.body(x), self.scale) + nn.functional.interpolate(
            x, scale_factor=self.scale, mode="nearest"
        )


def test_compact_networks_are_plain_networks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs, x_nchw = Compact(3, 6, 2), torch.rand(1, 3, 9, 7)
    torch.save({"params": theirs.state_dict()}, tmp_path / "compact.pth")
    ours = network("plain-m3c6-x2")
    ours.load_state_dict(fit(read_weights(tmp_path / "compact.pth").tensors, ours, tmp_path).taken)
    with torch.no_grad():
        torch.testing.assert_close(ours(x_nchw), theirs(x_nchw))


def test_what_we_save_for_the_field_it_can_load(tmp_path: Path) -> None:
    net, average = network("plain-m3c6-x2", seed=1), network("plain-m3c6-x2", seed=2)
    save_pth(tmp_path / "ours.pth", net, average)
    content = torch.load(tmp_path / "ours.pth", weights_only=True)
    theirs, x_nchw = Compact(3, 6, 2), torch.rand(1, 3, 9, 7)
    for key, ours in (("params", net), ("params_ema", average)):
        theirs.load_state_dict(content[key])
        with torch.no_grad():
            torch.testing.assert_close(ours(x_nchw), theirs(x_nchw))
    assert_equal(read_weights(tmp_path / "ours.pth").tensors, dict(average.state_dict()))


def test_networks_with_branches_keep_their_names(tmp_path: Path) -> None:
    net = network("repsr-m1c4-x2")
    save_pth(tmp_path / "ours.pth", net, net)
    assert_equal(read_weights(tmp_path / "ours.pth").tensors, dict(net.state_dict()))


def test_a_real_compact_checkpoint_fits(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "realesr-animevideov3.pth"
    net = network("plain-m16c64-x4")
    fitting = fit(read_weights(path).tensors, net, path)
    assert fitting.fresh == []
    assert set(fitting.taken) == set(net.state_dict())


def test_a_real_checkpoint_of_another_network_says_what_differs(shared_data: Path) -> None:
    path = shared_data / "checkpoints" / "ntire2026-span.pth"
    with pytest.raises(ModelFileError, match=r"fills only 0 of the .* tensors of Plain-M4C16 x4 .*unknown: conv_1"):
        fit(read_weights(path).tensors, network("plain-m4c16-x4"), path)


def test_another_scale_fits_but_for_its_tail() -> None:
    fitting = fit(network("repsr-m1c4-x2").state_dict(), network("repsr-m1c4-x4"), Path("x2"))
    assert fitting.fresh == ["tail.bias", "tail.weight"]


def test_too_little_fitting_names_keys_and_shapes() -> None:
    source = {**network("plain-m2c8-x2").state_dict(), "extra": torch.zeros(2)}
    del source["body.1.weight"]
    with pytest.raises(ModelFileError) as caught:
        fit(source, network("plain-m2c4-x2"), Path("other.pth"))
    message = str(caught.value)
    assert "other.pth fills only 1 of the 11 tensors of Plain-M2C4 x2" in message
    assert "head.weight is 8x3x3x3 there and 4x3x3x3 here" in message
    assert "and 5 more" in message
    assert "missing: body.1.weight" in message
    assert "unknown: extra" in message


class Evil:
    """A pickle that runs code when it is loaded by the unsafe way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/evil"),))


def test_pickles_of_anything_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"params": {"w": Evil()}}, path)
    with pytest.raises(ModelFileError, match="holds more than tensors"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as weights"),
        (b"nothing", "more than tensors|not readable"),
        (b"PK\x03\x04zip", "not readable"),
    ],
)
def test_damaged_files_are_errors(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_weights(path)


def test_files_without_weights_are_errors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(ModelFileError, match="holds no tensors where weights are expected"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(ModelFileError, match=re.escape(f"no file {tmp_path / 'missing.pth'}")):
        read_weights(tmp_path / "missing.pth")
