"""Channel ablation against a forward pass written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn

from repsr_deploy.errors import ImageFileError, ModelFileError, RepsrError, UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_deploy.metrics.colour import luma
from repsr_deploy.nets.network import Network
from repsr_train.analysis import ablation
from repsr_train.analysis.ablation import ablate, without_channel
from repsr_train.degradations.eight import degraded, noise_seed
from tests.nets.networks import randomized, spec_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small photographs of odd sizes, one of them gray."""
    folder = tmp_path_factory.mktemp("hr")
    write_image(folder / "cat.png", skimage.data.chelsea()[60:123, 120:197])
    write_image(folder / "man.png", skimage.data.camera()[100:171, 200:265])
    return folder


def tame(family: str = "srresnet", **changes: object) -> Network:
    """A network near its skip, whose output is a picture, with channels of very different weight."""
    net = randomized(spec_of(family, **changes)).eval()
    with torch.no_grad():
        tail = net.get_submodule("tail")
        assert isinstance(tail, nn.Conv2d)
        tail.weight.mul_(0.05 * torch.linspace(0, 2, tail.in_channels).view(1, -1, 1, 1))
        assert tail.bias is not None
        tail.bias.zero_()
    return net


def output_without(net: Network, lr_nchw: Tensor, channel: int) -> Tensor:
    """SRResNet-M2, layer by layer, without a channel of the features before its last convolution."""

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, net.get_parameter(f"{name}.weight"), net.get_parameter(f"{name}.bias"), padding=1)

    x = F.leaky_relu(conv(lr_nchw, "head"), 0.1)
    for block in ("body.0", "body.1"):
        x = x + conv(conv(x, f"{block}.conv1").relu(), f"{block}.conv2")
    x = F.leaky_relu(F.pixel_shuffle(conv(x, "upsampler.0"), 2), 0.1)
    x = F.leaky_relu(conv(x, "hr"), 0.1)
    total, lost = x.abs().sum(), x[:, channel].abs().sum()
    kept = torch.ones(x.shape[1])
    kept[channel] = 0
    x = x * kept.view(1, -1, 1, 1) * total / (total - lost)
    return conv(x, "tail") + F.interpolate(lr_nchw, scale_factor=2, mode="bilinear", align_corners=False)


def expected_psnr(output_nchw: Tensor, hr_hwc: np.ndarray, colour: str) -> float:
    picture = (output_nchw[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    pair = [(luma(each) if colour == "y" else each)[2:-2, 2:-2] for each in (hr_hwc, picture)]
    return float(peak_signal_noise_ratio(*pair, data_range=255))


@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_psnr_without_each_channel_against_a_hand_written_forward(folder: Path, colour: ablation.Colour) -> None:
    net = tame()
    paths = sorted(folder.iterdir())
    found = ablate(net, paths, colour=colour, kind="noise")
    assert (found.layer, found.images) == ("hr", ("cat.png", "man.png"))
    assert found.without_db.shape == (2, 8)
    hr_hwc = skimage.data.chelsea()[60:122, 120:196]
    lr_hwc = degraded(hr_hwc, 2, "noise", noise_seed("cat.png", "noise"))
    lr_nchw = torch.from_numpy(lr_hwc.transpose(2, 0, 1)[None].copy()).float() / 255
    with torch.no_grad():
        whole = expected_psnr(net(lr_nchw), hr_hwc, colour)
        without = [expected_psnr(output_without(net, lr_nchw, channel), hr_hwc, colour) for channel in range(8)]
    assert found.whole_db[0] == pytest.approx(whole, abs=1e-3)
    np.testing.assert_allclose(found.without_db[0], without, atol=1e-3)
    assert np.ptp(without) > 0.05  # so that a channel in another's place would be seen
    np.testing.assert_allclose(found.change_db, (found.without_db - found.whole_db[:, None]).mean(0))


def test_the_sum_of_magnitudes_stays() -> None:
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 5, 6, 7)))
    before = features.clone()
    changed = without_channel(features, [3, 0])
    assert torch.equal(features, before)
    assert changed.shape == (2, 5, 6, 7)
    for each, channel in zip(changed, (3, 0), strict=True):
        assert bool((each[channel] == 0).all())
        assert each.abs().sum().item() == pytest.approx(features.abs().sum().item(), rel=1e-12)
        others = [index for index in range(5) if index != channel]
        ratios = (each[others] / features[0, others]).flatten()
        assert ratios.std().item() < 1e-12


def test_a_dead_channel_is_not_missed_and_a_sole_one_leaves_nothing() -> None:
    features = torch.zeros(1, 3, 2, 2)
    features[0, 1] = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    dead, sole = without_channel(features, [0, 1])
    assert torch.equal(dead, features[0])
    assert torch.equal(sole, torch.zeros(3, 2, 2))


@pytest.mark.parametrize(("family", "layer"), [("edsr-adadm", "head"), ("wdsr-b", "body.0"), ("srresnet", "b1")])
def test_channels_at_once_or_one_by_one_are_the_same(
    folder: Path, family: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = randomized(spec_of(family)).eval()
    paths = sorted(folder.iterdir())[:1]
    together = ablate(net, paths, layer=layer)
    monkeypatch.setattr(ablation, "BATCH_NUMBERS", 1)
    alone = ablate(net, paths, layer=layer)
    np.testing.assert_allclose(together.without_db, alone.without_db, atol=1e-3)
    assert together.without_db.shape == (1, 8)


def test_a_luma_network_is_measured_on_luma(folder: Path) -> None:
    net = randomized(spec_of("repsr", colour="y")).eval()
    found = ablate(net, sorted(folder.iterdir()), colour="y")
    assert found.layer == "body.1"
    assert np.isfinite(found.without_db).all()
    with pytest.raises(UsageError, match=r"gives luma alone.*--colour y"):
        ablate(net, sorted(folder.iterdir()), colour="rgb")


def test_report_holds_every_number(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = ablate(tame(), sorted(folder.iterdir()), progress=lambda done, total: seen.append((done, total)))
    report = found.to_dict()
    assert seen == [(1, 2), (2, 2)]
    assert report["psnr_db"] == pytest.approx(float(np.mean(found.whole_db)))
    assert [image["name"] for image in report["images"]] == ["cat.png", "man.png"]
    assert report["images"][1]["psnr_without_channel_db"] == found.without_db[1].tolist()


def test_impossible_requests_are_refused(folder: Path, tmp_path: Path) -> None:
    net = tame()
    paths = sorted(folder.iterdir())
    with pytest.raises(UsageError, match="no layer 'tail'"):
        ablate(net, paths, layer="tail")
    with pytest.raises(UsageError, match="no photograph"):
        ablate(net, [])
    with pytest.raises(ImageFileError, match=r"none.png does not exist"):
        ablate(net, [tmp_path / "none.png"])
    with pytest.raises(UsageError, match="training mode"):
        ablate(tame().train(), paths)


def test_infinite_psnr_and_broken_weights_are_refused(folder: Path) -> None:
    perfect = tame(scale=1)
    with torch.no_grad():
        perfect.get_parameter("tail.weight").zero_()
    with pytest.raises(RepsrError, match=r"cat.png is restored without any error"):
        ablate(perfect, sorted(folder.iterdir()))
    broken = tame()
    with torch.no_grad():
        broken.get_parameter("tail.weight").fill_(float("nan"))
    with pytest.raises(ModelFileError, match="weights are broken"):
        ablate(broken, sorted(folder.iterdir()))
