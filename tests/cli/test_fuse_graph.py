"""`repsr-fuse` on graphs and on networks of other projects, run as a user runs it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from repsr_deploy.cli.fuse import main
from repsr_deploy.export.zoo import load_foreign
from repsr_deploy.folding import algebra
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime
from tests.nets.networks import randomized, spec_of
from tests.zoo.export import exported_block
from tests.zoo.foreign import foreign, state_of, write_pth

HIDDEN = 8
Edit = Callable[[onnx.ModelProto], None]


def fuse(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def network(last: str = "DepthToSpace", more: list[NodeProto] | None = None) -> onnx.ModelProto:
    """x2 from RGB to RGB: 3x3, ReLU, BN(3x3) + BN(1x1), PReLU, 3x3, `last`, and `more` behind `y`."""
    rng = np.random.default_rng(11)
    weights: dict[str, NDArray[Any]] = {
        "head": rng.normal(size=(HIDDEN, 3, 3, 3)) * 0.3,
        "wide": rng.normal(size=(HIDDEN, HIDDEN, 3, 3)) * 0.1,
        "point": rng.normal(size=(HIDDEN, HIDDEN, 1, 1)) * 0.3,
        "slope": rng.uniform(-0.2, 0.5, size=(HIDDEN, 1, 1)),
        "tail": rng.normal(size=(12, HIDDEN, 3, 3)) * 0.1,
        "tail.bias": np.full(12, 0.4),
    }
    for branch in "ab":
        weights |= {f"{branch}.{name}": rng.normal(size=HIDDEN) * 0.3 for name in ("scale", "shift", "mean")}
        weights[f"{branch}.var"] = rng.uniform(0.5, 2, size=HIDDEN)
    normed = [[f"{branch}.{name}" for name in ("scale", "shift", "mean", "var")] for branch in "ab"]
    nodes = [
        _node("Conv", ["x", "head"], "features", pads=[1] * 4),
        _node("Relu", ["features"], "active"),
        _node("Conv", ["active", "wide"], "wide.out", pads=[1] * 4),
        _node("BatchNormalization", ["wide.out", *normed[0]], "a"),
        _node("Conv", ["active", "point"], "point.out"),
        _node("BatchNormalization", ["point.out", *normed[1]], "b"),
        _node("Add", ["a", "b"], "sum"),
        _node("PRelu", ["sum", "slope"], "bent"),
        _node("Conv", ["bent", "tail", "tail.bias"], "low", pads=[1] * 4),
        _node(last, ["low"], "y", **({"blocksize": 2, "mode": "CRD"} if last == "DepthToSpace" else {})),
        *(more or []),
    ]
    floats = {name: np.asarray(array, np.float32) for name, array in weights.items()}
    return _model(nodes, floats, "y" if more is None else more[-1].output[0])


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{output}.node", **attributes)


def _model(nodes: list[NodeProto], weights: dict[str, NDArray[Any]], output: str = "y") -> onnx.ModelProto:
    image: list[Any] = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 3, "sH", "sW"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = sorted({node.domain for node in nodes if node.domain})
    imports = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def write(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    path = folder / "small.onnx"
    path.write_bytes((model or network()).SerializeToString())
    return path


def run(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: image})[0])


def noise(height: int = 33, width: int = 38) -> NDArray[np.float32]:
    return np.random.default_rng(6).random((1, 3, height, width), np.float32)


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def same_pictures(a: Path, b: Path, tolerance: float = 2e-6) -> None:
    before, after = (run(path, noise()) for path in (a, b))
    assert np.ptp(before) > 0.1
    assert np.abs(after - before).max() < tolerance * max(1, np.ptp(before))


def tiles_change_nothing(path: Path) -> None:
    image = np.ascontiguousarray(skimage.data.astronaut()[30:101, 170:243])
    np.testing.assert_array_equal(
        Upscaler(path, runtime="onnxruntime", tile=24).upscale(image),
        Upscaler(path, runtime="onnxruntime", tile=1000).upscale(image),
    )


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("repsr-fuse: error: ")
    return lines[0]


def test_a_graph_becomes_a_smaller_model_that_describes_itself(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, proof = write(tmp_path), tmp_path / "out" / "folded.onnx", tmp_path / "proof.json"
    assert fuse("export", source, "--out", out, "--proof", proof, "--probe", photographs / "coffee.png") == 0
    said = capsys.readouterr().out
    for words in ("3x3*BN + 1x1*BN -> 3x3", "proof passed on 3 images", "nodes", "│ 10 "):
        assert words in said, words
    assert operators(out) == ["Conv", "Relu", "Conv", "PRelu", "Conv", "DepthToSpace"]
    same_pictures(source, out)
    tiles_change_nothing(out)

    info = open_runtime(out, "onnxruntime").info
    assert (info.name, info.scale, info.halo, info.colour) == ("small", 2, 3, "rgb")
    (entry,) = info.history
    assert (entry["stage"], entry["objective"], entry["calibration"]) == ("fold", "macs", None)
    report = json.loads(proof.read_text())
    assert report["summary"] == info.proof
    assert report["summary"]["passed"] is True
    assert (report["summary"]["nodes_before"], report["summary"]["nodes_after"]) == (10, 6)
    assert report["summary"]["relative_error_float64"] < 1e-12
    assert report["probes"][-1] == "coffee.png 201x201"
    assert report["sites"][0]["outcome"] == "exact"
    assert report["whole"][0]["output"] == "y"


def test_folding_again_finds_nothing_and_appends_to_the_history(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.onnx", tmp_path / "twice.onnx"
    model = network()
    helper.set_model_props(model, {"author": "somebody"})
    assert fuse("export", write(tmp_path, model), "--out", once) == 0
    assert fuse("export", once, "--out", twice) == 0
    assert operators(once) == operators(twice)
    first, second = (open_runtime(path, "onnxruntime").info for path in (once, twice))
    assert second.history[:1] == first.history
    assert len(second.history) == 2
    assert second.history[1]["source_sha256"] != first.history[0]["source_sha256"]
    assert {item.key: item.value for item in onnx.load(twice).metadata_props}["author"] == "somebody"


@pytest.mark.parametrize("objective", ["macs", "nodes", "latency"])
def test_objectives(objective: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A 1x1 to one channel and a 3x3 back take 3 and 27 multiply-adds, the 3x3 that they are takes 81."""
    rng = np.random.default_rng(1)
    weights = {
        "squeeze": rng.normal(size=(1, 3, 1, 1)).astype(np.float32),
        "expand": rng.normal(size=(3, 1, 3, 3)).astype(np.float32),
    }
    nodes = [_node("Conv", ["x", "squeeze"], "mid"), _node("Conv", ["mid", "expand"], "y", pads=[1] * 4)]
    source, out = write(tmp_path, _model(nodes, weights)), tmp_path / "out.onnx"
    assert fuse("export", source, "--out", out, "--objective", objective) == 0
    same_pictures(source, out)
    said = capsys.readouterr().out
    assert open_runtime(out, "onnxruntime").info.history[0]["objective"] == objective
    if objective != "latency":
        assert operators(out) == ["Conv"] * {"macs": 2, "nodes": 1}[objective]
    else:
        for candidate in ("fewest multiply-adds: ", "fewest nodes: ", "as it is: "):
            assert candidate in said


def test_an_unknown_objective_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuse("export", write(tmp_path), "--out", tmp_path / "out.onnx", "--objective", "speed") == 2
    assert "--objective speed; expected macs, nodes, latency" in one_error(capsys)


def test_the_border_changes_only_when_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two padded 3x3 are a 5x5 in the interior: the first one's output is zero beyond the border, the 5x5's is not."""
    rng = np.random.default_rng(1)
    weights = {
        "expand": rng.normal(size=(32, 3, 3, 3)).astype(np.float32),
        "squeeze": (rng.normal(size=(3, 32, 3, 3)) / 32).astype(np.float32),
    }
    nodes = [
        _node("Conv", ["x", "expand"], "mid", pads=[1] * 4),
        _node("Conv", ["mid", "squeeze"], "y", pads=[1] * 4),
    ]
    source, kept, changed = write(tmp_path, _model(nodes, weights)), tmp_path / "kept.onnx", tmp_path / "changed.onnx"
    proofs = [path.with_suffix(".json") for path in (kept, changed)]
    assert fuse("export", source, "--out", kept, "--proof", proofs[0]) == 0
    assert "folds exactly in the interior only" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert operators(kept) == ["Conv", "Conv"]

    assert fuse("export", source, "--out", changed, "--allow-border", "--proof", proofs[1]) == 0
    said = capsys.readouterr().out
    assert operators(changed) == ["Conv"]
    before, after = run(source, noise()), run(changed, noise())
    error = np.abs(after - before) / np.ptp(before)
    assert error[..., 2:-2, 2:-2].max() < 1e-6
    assert error.max() > 1e-2
    reports = [json.loads(path.read_text()) for path in proofs]
    assert [report["sites"][0]["outcome"] for report in reports] == ["kept", "border"]
    assert reports[1]["summary"]["border_change"] > 1e-2
    assert reports[1]["summary"]["relative_error_float64"] < 1e-12
    whole = reports[1]["whole"][0]["comparison"]
    assert f"interior {whole['max_error_interior']:.1e}, border {whole['max_error_border']:.1e}" in said


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    source, out = tmp_path / "in" / "model.onnx", tmp_path / "out" / "model.onnx"
    source.parent.mkdir()
    onnx.save(network(), source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert fuse("export", source, "--out", out) == 0
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]  # small: in one file
    same_pictures(source, out)


def test_a_checkpoint_of_another_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write_pth(tmp_path / "compact.pth", state_of("Compact")), tmp_path / "compact.onnx"
    assert fuse("export", source, "--out", out) == 0
    assert "Compact x2" in capsys.readouterr().out
    with torch.no_grad():
        expected = foreign("Compact")(torch.from_numpy(noise())).numpy()
    np.testing.assert_allclose(run(out, noise()), expected, atol=2e-6 * max(1, np.ptp(expected)))
    info = open_runtime(out, "onnxruntime").info
    assert (info.name, info.scale, info.halo) == ("Compact", 2, 4)
    tiles_change_nothing(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SPAN", "RCAN"])
def test_branches_and_attention(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    save_file(state_of(name), source)
    assert fuse("export", source, "--out", out) == 0
    said = capsys.readouterr().out
    assert ("with its training branches" in said) == (name == "SPAN")
    with torch.no_grad():
        expected = foreign(name)(torch.from_numpy(noise())).numpy()
    np.testing.assert_allclose(run(out, noise()), expected, atol=1e-5 * max(1, np.ptp(expected)))
    assert (open_runtime(out, "onnxruntime").info.halo is None) == (
        name == "RCAN"
    )  # its attention averages the whole image


@pytest.mark.slow
@pytest.mark.parametrize(("file", "scale"), [("ntire2026-span.pth", 4), ("realesr-animevideov3.pth", 4)])
def test_published_checkpoints(
    file: str, scale: int, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = shared_data / "checkpoints" / file, tmp_path / "net.onnx"
    assert fuse("export", source, "--out", out) == 0
    assert ("stripped of its training branches" in capsys.readouterr().out) == ("span" in file)
    assert open_runtime(out, "onnxruntime").info.scale == scale
    tiles_change_nothing(out)
    with torch.no_grad():
        expected = load_foreign(source).module(torch.from_numpy(noise())).numpy()
    np.testing.assert_allclose(run(out, noise()), expected, atol=2e-5 * np.ptp(expected))


def own_checkpoint(folder: Path, family: str = "repsr") -> Path:
    net = randomized(spec_of(family))
    save_checkpoint(folder / "net.safetensors", net, CheckpointInfo(spec=net.spec, history=[{"stage": "train"}]))
    return folder / "net.safetensors"


def test_our_checkpoint_as_a_folded_checkpoint(tmp_path: Path) -> None:
    source, out, model = own_checkpoint(tmp_path), tmp_path / "folded.safetensors", tmp_path / "folded.onnx"
    assert fuse("export", source, "--out", out) == 0
    assert fuse("export", source, "--out", model) == 0
    net, info = load_checkpoint(out)
    assert info.spec == spec_of("repsr").folded
    assert [entry["stage"] for entry in info.history] == ["train", "fold"]
    with torch.no_grad():
        pictures = net(torch.from_numpy(noise())).clamp(0, 1).numpy()
    np.testing.assert_allclose(pictures, run(model, noise()), atol=1e-5)
    assert fuse("verify", source, out) == 0


@pytest.mark.parametrize("more", [["folded.pth"], ["folded.safetensors", "--compact"]])
def test_our_checkpoint_as_one_of_compact(more: list[str], tmp_path: Path) -> None:
    from spandrel import ModelLoader

    source, out = own_checkpoint(tmp_path), tmp_path / more[0]
    assert fuse("export", source, "--out", out, *more[1:]) == 0
    loaded = ModelLoader().load_from_file(out)
    assert (loaded.architecture.id, loaded.scale) == ("Compact", 2)
    own, _ = load_checkpoint(source)
    with torch.no_grad():
        image_nchw = torch.from_numpy(noise())
        actual, expected = loaded(image_nchw), own(image_nchw)  # type: ignore[operator]
    torch.testing.assert_close(actual.clamp(0, 1), expected.clamp(0, 1), atol=1e-4, rtol=0)


def test_adadm_keeps_its_factor_or_is_calibrated(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, kept, constant = tmp_path / "adadm.onnx", tmp_path / "kept.onnx", tmp_path / "constant.onnx"
    source.write_bytes(exported_block("adadm"))
    assert fuse("export", source, "--out", kept) == 0
    assert "depends on the image" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert open_runtime(kept, "onnxruntime").info.halo is None
    same_pictures(source, kept)

    proof = tmp_path / "proof.json"
    assert fuse("export", source, "--out", constant, "--calibrate", photographs, "--proof", proof) == 0
    said = capsys.readouterr().out
    assert "calibrated on 3 photographs: " in said
    assert "depends on the image" not in said
    info = open_runtime(constant, "onnxruntime").info
    assert info.halo == 6
    calibration = info.history[-1]["calibration"]
    assert calibration["photographs"] == 3
    loss = calibration["psnr_y_before"] - calibration["psnr_y_after"]
    assert f"{loss:+.3f} dB of PSNR-Y lost" in said
    outcomes = [site["outcome"] for site in json.loads(proof.read_text())["sites"]]
    assert outcomes.count("calibrated") == len(calibration["factors"]) == 2
    assert not {"ReduceMean", "Exp"} & set(operators(constant))
    tiles_change_nothing(constant)


def test_our_own_model_with_a_factor_can_be_calibrated_later(photographs: Path, tmp_path: Path) -> None:
    checkpoint, whole, constant = own_checkpoint(tmp_path, "edsr-adadm"), tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert fuse("export", checkpoint, "--out", whole) == 0
    assert fuse("export", whole, "--out", constant, "--calibrate", photographs) == 0
    before, after = (open_runtime(path, "onnxruntime").info for path in (whole, constant))
    assert (before.halo, after.halo) == (None, 8)
    assert after.name == before.name
    assert after.history[:-1] == before.history
    tiles_change_nothing(constant)


def test_nothing_to_calibrate_is_an_error(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuse("export", write(tmp_path), "--out", tmp_path / "out.onnx", "--calibrate", photographs) == 2
    assert "nothing to calibrate" in one_error(capsys)
    assert not (tmp_path / "out.onnx").exists()


def test_verify_tells_equal_from_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, report = write(tmp_path), tmp_path / "out.onnx", tmp_path / "verdict.json"
    assert fuse("export", source, "--out", out) == 0
    assert fuse("verify", source, out, "--json", report) == 0
    verdict = json.loads(report.read_text())
    assert verdict["equal"] is True
    capsys.readouterr()

    changed = onnx.load(out)
    weight = next(item for item in changed.graph.initializer if len(item.dims) == 4)
    array = numpy_helper.to_array(weight).copy()
    array[0, 0, 0, 0] += 1e-2
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(changed, tmp_path / "changed.onnx")
    assert fuse("verify", source, tmp_path / "changed.onnx", "--json", report) == 1
    captured = capsys.readouterr()
    assert "different" in captured.out
    assert "do not compute the same" in captured.err
    assert json.loads(report.read_text())["equal"] is False
    assert fuse("verify", source, tmp_path / "changed.onnx", "--tolerance", "1") == 0


def test_a_wrong_fold_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compose = algebra.compose

    def wrong(*arguments: Any, **options: Any) -> algebra.Conv:
        right = compose(*arguments, **options)
        return replace(right, weight_oihw=right.weight_oihw * (1 + 1e-6))

    monkeypatch.setattr(algebra, "compose", wrong)
    source, out, proof = write(tmp_path), tmp_path / "out" / "folded.onnx", tmp_path / "proof.json"
    assert fuse("export", source, "--out", out, "--proof", proof) == 1
    error = one_error(capsys)
    for words in ("small: the folded graph differs in float64", "smallest tolerance that would pass", "1e-7..1e-6: "):
        assert words in error, words
    assert not proof.exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


def _weight(name: str, change: Callable[[NDArray[np.float32]], NDArray[Any]]) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        tensor = next(item for item in model.graph.initializer if item.name == name)
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))

    return edit


def _opset(version: int) -> Edit:
    return lambda model: setattr(model.opset_import[0], "version", version)


def _last_channel_set(number: float) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    def change(array: NDArray[np.float32]) -> NDArray[Any]:
        array[-1] = number
        return array

    return change


EDITS: dict[str, tuple[Edit, str]] = {
    "nan": (_weight("wide", _last_channel_set(np.nan)), "'wide'"),
    "infinity": (_weight("tail.bias", _last_channel_set(np.inf)), "'tail.bias'"),
    "channels": (_weight("tail", lambda array: array[:, :5]), "low.node"),
    "opset": (_opset(99), "opset 99"),
    "old opset": (_opset(5), "opset 5"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_broken_graphs_are_one_line(edit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    change, words = EDITS[edit]
    change(model)
    source, out = write(tmp_path, model), tmp_path / "out" / "model.onnx"
    assert fuse("export", source, "--out", out) == 1
    assert words in one_error(capsys)
    assert not out.parent.exists()
    assert fuse("inspect", source) == 1
    one_error(capsys)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.onnx", b"", "net.onnx is empty"),
        ("net.onnx", b"this is no model\n" * 40, "not a complete ONNX model"),
        ("net.onnx", network().SerializeToString()[:3000], "not a complete ONNX model"),
        ("net.onnx", None, "does not exist"),
        ("net.pth", b"", "not readable as weights"),
        ("net.pth", None, "no file"),
        ("net.pth", pickle.dumps(Evil()), "could run code"),
        ("net.safetensors", b"\x08\0\0\0\0\0\0\0", "not a readable safetensors file"),
        ("net.txt", b"text", "net.txt is of an unknown kind; expected .onnx, .pth"),
    ],
)
@pytest.mark.parametrize("command", ["export", "inspect"])
def test_unreadable_files_are_one_line(
    command: str, name: str, content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / name, tmp_path / "out" / "model.onnx"
    if content is not None:
        source.write_bytes(content)
    assert fuse(command, source, *(["--out", out] if command == "export" else [])) == 1
    captured = capsys.readouterr()
    assert "executed" not in captured.out
    assert len(captured.err.splitlines()) == 1
    assert words in captured.err
    assert not out.parent.exists()


def test_an_unknown_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net.pth", "net.safetensors"):
        state = {"layer.weight": torch.ones(3, 3)}
        (torch.save if name.endswith("pth") else save_file)(state, tmp_path / name)
        assert fuse("export", tmp_path / name, "--out", tmp_path / "out.onnx") == 1
        assert "layer.weight 3x3" in one_error(capsys)
        assert not (tmp_path / "out.onnx").exists()


def test_missing_external_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "model.onnx"
    onnx.save(network(), source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    assert fuse("export", source, "--out", tmp_path / "out.onnx") == 1
    assert "weights.bin" in one_error(capsys)


def test_outputs_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path)
    content = source.read_bytes()
    for out, code, words in (
        (source, 2, "would overwrite"),
        (tmp_path / "model.txt", 2, "expected a name that ends in .onnx"),
        (Path("/dev/null/model.onnx"), 1, "cannot write"),
        (tmp_path / "net.pth", 1, "Compact"),
    ):
        assert fuse("export", source, "--out", out) == code
        assert words in one_error(capsys)
    assert source.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


LOOP = helper.make_graph(
    [helper.make_node("Relu", ["state"], ["next"]), helper.make_node("Identity", ["go"], ["on"])],
    "body",
    [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
    ],
    [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
    ],
)


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (_node("Sharpen", ["y"], "z", domain="acme"), "custom operator acme::Sharpen"),
        (_node("Loop", ["turns", "", "y"], "z", body=LOOP), "Loop"),
    ],
)
def test_a_graph_folds_as_far_as_it_can_be_evaluated(
    behind: NodeProto, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network(more=[behind])
    model.graph.initializer.append(numpy_helper.from_array(np.array(2), "turns"))
    source, out, proof = write(tmp_path, model), tmp_path / "model.onnx", tmp_path / "proof.json"
    assert fuse("export", source, "--out", out, "--proof", proof) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert words in said
    assert any(words in line for line in json.loads(proof.read_text())["kept"])
    kinds = operators(out)
    assert (kinds.count(behind.op_type), kinds.count("BatchNormalization")) == (1, 0)
    assert kinds.count("Conv") < operators(source).count("Conv")
    assert [value.name for value in onnx.load(out).graph.output] == ["z"]
    if not behind.domain:  # ONNX Runtime knows it
        np.testing.assert_allclose(run(out, noise()), run(source, noise()), atol=1e-5)
    assert fuse("inspect", source) == 0
    said = capsys.readouterr().out
    assert "1 nodes of unknown shape, the first 'z.node'" in said
    assert "3x3*BN + 1x1*BN -> 3x3" in said
    assert words in said


def test_a_branch_that_depends_on_the_image_stays(tmp_path: Path) -> None:
    """Behind an If no shape is known: what leads to it folds, what follows stays."""
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("dark", "light")]
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Sqrt", ["bright"], ["dark"])], "then", [], outputs[:1]),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["y"], ["light"])], "else", [], outputs[1:]),
    }
    more = [
        _node("Abs", ["y"], "bright"),
        _node("ReduceMean", ["x"], "mean", keepdims=0),
        _node("Greater", ["mean", "half"], "is_light"),
        _node("If", ["is_light"], "either", **branches),
        _node("Relu", ["either"], "z"),
    ]
    model = network(more=more)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    source, out = write(tmp_path, model), tmp_path / "out.onnx"
    assert fuse("export", source, "--out", out) == 0
    kinds = operators(out)
    assert (kinds.count("Conv"), kinds.count("BatchNormalization"), kinds.count("If")) == (3, 0, 1)
    for contrast in (0.4, 1.4):
        before, after = (run(path, noise() * np.float32(contrast)) for path in (source, out))
        np.testing.assert_allclose(after, before, atol=1e-5)
