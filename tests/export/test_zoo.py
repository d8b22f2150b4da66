from __future__ import annotations

import os
import pickle
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from repsr_deploy.errors import ModelFileError, ProofError, RepsrError, UsageError
from repsr_deploy.export.trace import Isolated, check_model, export_module
from repsr_deploy.export.zoo import ForeignNetwork, load_foreign, to_onnx
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.metrics.quality import psnr
from repsr_deploy.metrics.resize import imresize
from tests.support import declare_torchvision_schemas
from tests.zoo.foreign import foreign, state_of, write_pth

declare_torchvision_schemas()
DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def _convolutions(path: Path) -> list[tuple[int, ...]]:
    model = onnx.load(path)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


def _stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A trained SPAN as its authors publish it: the branches folded here, independently, and left out."""
    out = {key: value for key, value in state.items() if ".sk." not in key and ".conv." not in key}
    for key in [key.removesuffix("sk.weight") for key in state if key.endswith("sk.weight")]:
        first, second, third = (state[f"{key}conv.{index}.weight"].double() for index in range(3))
        weight = torch.einsum("om,mnhw,ni->oihw", third[:, :, 0, 0], second, first[:, :, 0, 0])
        weight[:, :, 1, 1] += state[f"{key}sk.weight"].double()[:, :, 0, 0]
        biases = [state[f"{key}conv.{index}.bias"].double() for index in range(3)]
        inner = torch.einsum("mnhw,n->m", second, biases[0]) + biases[1]
        bias = third[:, :, 0, 0] @ inner + biases[2] + state[f"{key}sk.bias"].double()
        out[f"{key}eval_conv.weight"], out[f"{key}eval_conv.bias"] = weight.float(), bias.float()
    return out


def test_trained_span_is_exported_with_its_branches(tmp_path: Path) -> None:
    net = load_foreign(write_pth(tmp_path / "span.pth", state_of("SPAN")))
    assert net.form == "branches"
    assert any("eval_conv" in note for note in net.notes)
    to_onnx(net, tmp_path / "span.onnx")
    shapes = _convolutions(tmp_path / "span.onnx")
    assert len(shapes) == 20 * 4 + 2  # 20 Conv3XC of four convolutions each, conv_cat, the upsampler
    assert sum(shape[2:] == (1, 1) for shape in shapes) == 20 * 3 + 1
    assert not any(module.training for module in net.module.modules())


def test_stripped_span_computes_what_the_trained_one_does(tmp_path: Path) -> None:
    state = state_of("SPAN")
    net = load_foreign(write_pth(tmp_path / "span.pth", _stripped(state)))
    assert (net.architecture, net.form, net.scale, net.in_channels) == ("SPAN", "stripped", 2, 3)
    x_nchw = torch.rand(2, 3, 13, 18)
    with torch.no_grad():
        expected = foreign("SPAN")(x_nchw)
        torch.testing.assert_close(net.module(x_nchw), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_stripped_span_without_normalisation(tmp_path: Path) -> None:
    state = _stripped(state_of("SPAN"))
    x_nchw = torch.rand(1, 3, 9, 9)
    with_norm = load_foreign(write_pth(tmp_path / "norm.pth", state))
    without = load_foreign(write_pth(tmp_path / "plain.pth", state | {"no_norm": torch.zeros(())}))
    assert with_norm.notes != without.notes
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    torch.testing.assert_close(with_norm.module(x_nchw), without.module((x_nchw - mean) * 255))


@needs_data
def test_published_span_enlarges_photographs_as_published(tmp_path: Path) -> None:
    del tmp_path
    net = load_foreign(DATA / "checkpoints" / "ntire2026-span.pth")
    assert (net.architecture, net.form, net.scale) == ("SPAN", "stripped", 4)
    high_hwc = read_image(DATA / "test" / "set5" / "butterfly.png")
    low = torch.from_numpy(imresize(high_hwc, 1 / 4)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        enlarged_hwc = (net.module(low).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    bicubic = psnr(imresize(imresize(high_hwc, 1 / 4), 4), high_hwc)
    assert psnr(enlarged_hwc, high_hwc) > bicubic + 3  # 26.4 against 22.1 dB: mean, range, skips, order are right


@needs_data
def test_published_compact_reaches_onnx(tmp_path: Path) -> None:
    net = load_foreign(DATA / "checkpoints" / "realesr-animevideov3.pth")
    assert (net.architecture, net.form, net.scale, net.notes) == ("Compact", "plain", 4, ("weights: params",))
    to_onnx(net, tmp_path / "net.onnx")
    assert sum(np.prod(shape) for shape in _convolutions(tmp_path / "net.onnx")) == 619_200


def test_plksr_is_exported_without_writing_in_place(tmp_path: Path) -> None:
    net = load_foreign(write_pth(tmp_path / "net.pth", state_of("PLKSR")))
    to_onnx(net, tmp_path / "net.onnx")
    ops = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert "Split" in ops
    assert not {"ScatterND", "ScatterElements"} & ops


@pytest.mark.parametrize("container", ["params_ema", "params", "state_dict", "model", "net"])
def test_weights_are_found_in_containers(container: str, tmp_path: Path) -> None:
    net = load_foreign(write_pth(tmp_path / "net.pth", state_of("Compact"), container))
    assert net.architecture == "Compact"
    assert net.notes == (f"weights: {container}",)


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    state = state_of("Compact")
    averaged = {key: value + 1 for key, value in state.items()}
    torch.save({"params": state, "params_ema": averaged}, tmp_path / "net.pth")
    weights = load_foreign(tmp_path / "net.pth").module.state_dict()
    assert torch.equal(weights["network.body.0.weight"], averaged["body.0.weight"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "generator.", "lit.net_g."])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".safetensors"])
def test_names_of_wrappers_are_seen_through(prefix: str, suffix: str, tmp_path: Path) -> None:
    state, path = {prefix + key: value for key, value in state_of("RCAN").items()}, tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3, "optimizer_states": [{}]}, path)
    assert load_foreign(path).architecture == "RCAN"


def test_half_precision_becomes_float32_and_says_so(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in state_of("Compact").items()}
    net = load_foreign(write_pth(tmp_path / "net.pth", state))
    assert {value.dtype for value in net.module.state_dict().values()} == {torch.float32}
    assert any("float16" in note for note in net.notes)


class _Runs:
    """A pickle that makes a folder when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_runs_code_is_refused_and_does_not_run(zipped: bool, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "net.pth"
    torch.save({"params": state_of("Compact"), "extra": _Runs(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match=rf"it asks for {os.mkdir.__module__}\.mkdir"):
        load_foreign(path)
    assert not mark.exists()


def test_bare_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"a": _Runs(tmp_path / "mark")}))
    with pytest.raises(ModelFileError, match="could run code"):
        load_foreign(path)
    assert not (tmp_path / "mark").exists()


def test_options_of_a_trainer_are_named(tmp_path: Path) -> None:
    torch.save({"params": state_of("Compact"), "args": Namespace(a=1)}, tmp_path / "net.pth")
    with pytest.raises(ModelFileError, match=r"it asks for argparse\.Namespace"):
        load_foreign(tmp_path / "net.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_file(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    if suffix == ".safetensors":
        save_file(state_of("Compact"), path)
    else:
        write_pth(path, state_of("Compact"))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelFileError, match=r"not (readable|a readable)"):
        load_foreign(path)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    state = state_of("Compact")
    state["body.2.weight"][1, 2, 0, 1] = value
    with pytest.raises(ModelFileError, match=r"body\.2\.weight holds NaN or infinity in 1 of its 576"):
        load_foreign(write_pth(tmp_path / "net.pth", state))


def test_unknown_network_lists_its_first_keys(tmp_path: Path) -> None:
    state = {f"layer{index}.kernel": torch.zeros(2, index + 1) for index in range(20)}
    with pytest.raises(ModelFileError, match=r"does not know; its first keys of 20 are layer0\.kernel 2x1, layer1"):
        load_foreign(write_pth(tmp_path / "net.pth", state))


def test_network_with_a_layer_missing(tmp_path: Path) -> None:
    state = state_of("SPAN")
    del state["block_3.c2_r.conv.1.weight"]
    with pytest.raises(ModelFileError, match=r"weights do not fit .*block_3\.c2_r\.conv\.1\.weight"):
        load_foreign(write_pth(tmp_path / "net.pth", state))


def test_stripped_span_with_a_layer_missing(tmp_path: Path) -> None:
    state = _stripped(state_of("SPAN"))
    del state["block_3.c2_r.eval_conv.bias"]
    with pytest.raises(ModelFileError, match=r"weights do not fit .*block_3\.c2_r\.eval_conv\.bias"):
        load_foreign(write_pth(tmp_path / "net.pth", state))


@pytest.mark.parametrize("content", [{}, {"params": {}}, {"epoch": 3}, [1, 2]])
def test_file_without_weights(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ModelFileError, match="holds no tensors"):
        load_foreign(tmp_path / "net.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no file"):
        load_foreign(tmp_path / "net.pth")


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Any]", sys.modules), "spandrel", None)
    with pytest.raises(UsageError, match=r"pip install 'repsr-deploy\[zoo\]'"):
        load_foreign(write_pth(tmp_path / "net.pth", state_of("Compact")))


class _OnlyEvenSizes(nn.Module):
    """Computes something else at odd heights, which no trace sees."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        if self.training:
            return x_nchw * 2
        return x_nchw * (2 if x_nchw.shape[2] % 2 else 3)


def test_graph_that_holds_for_the_traced_size_only_is_caught(tmp_path: Path) -> None:
    traced, reference = _OnlyEvenSizes().train(), _OnlyEvenSizes().eval()
    with pytest.raises(ProofError, match="differ by"):
        export_module(traced, reference, 3, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


class _Data(nn.Module):
    """What it does depends on the picture."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        return x_nchw if x_nchw.sum() > 0 else -x_nchw


def test_network_that_cannot_be_exported(tmp_path: Path) -> None:
    net = ForeignNetwork(
        module=Isolated(_Data()), architecture="Data", scale=1, in_channels=3, out_channels=3, form="plain"
    )
    with pytest.raises(RepsrError, match=r"cannot write _Data as ONNX .*data-dependent"):
        to_onnx(net, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


class _Enlarged(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x_nchw: Tensor) -> Tensor:
        return F.interpolate(x_nchw, scale_factor=self.factor, mode="nearest")


def test_planted_differences_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    export_module(_Enlarged(2), _Enlarged(2), 3, path)
    assert check_model(path, _Enlarged(2), 3) == 0
    with pytest.raises(ProofError, match="PyTorch gives"):
        check_model(path, _Enlarged(3), 3)
    with pytest.raises(ProofError, match="differ by"):
        check_model(path, nn.Sequential(_Enlarged(2), nn.Hardshrink(1e-3)), 3)


def test_large_weights_lie_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repsr_deploy.export.saving.LARGEST_FILE_BYTES", 1000)
    net = nn.Conv2d(3, 3, 9, padding=4)
    export_module(net, net, 3, tmp_path / "net.onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}
    check_model(tmp_path / "net.onnx", net, 3)
