"""Who takes part, and who is compared with whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.bench.contestant import CHANNELS_LAST, PYTORCH, Contestant, Family, native_batch, run_native
from repsr_deploy.bench.families import RUNTIME_NAMES, Selection, find_families, precision_named
from repsr_deploy.errors import UsageError
from repsr_deploy.export.convert import Target, convert
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.runtimes import open_runtime
from tests.bench.families import checkpoint, contestant, model

ORT = Selection(runtimes=("onnxruntime",))


def found(models: list[Path | str], selection: Selection, scratch: Path) -> tuple[list[Family], list[str]]:
    scratch.mkdir(exist_ok=True)
    return find_families([str(name) for name in models], selection, scratch, lambda text: None)


def places(family: Family) -> list[tuple[str, str, str]]:
    return [(one.form, one.runtime, one.computes) for one in family.contestants]


def test_a_checkpoint_takes_part_folded_and_with_branches(tmp_path: Path) -> None:
    selection = Selection(runtimes=("onnxruntime", PYTORCH, CHANNELS_LAST))
    (family,), notes = found([checkpoint(tmp_path / "c.safetensors")], selection, tmp_path / "scratch")
    assert sorted(places(family)) == [
        (form, runtime, "fp32")
        for form in ("branches", "folded")
        for runtime in ("onnxruntime", PYTORCH, CHANNELS_LAST)
    ]
    assert notes == []
    images_nhwc = np.random.default_rng(0).integers(0, 256, (1, 13, 17, 3), np.uint8)
    outputs: list[np.ndarray] = []
    for one in family.contestants:
        runtime = one.open(1)
        assert runtime.name == one.runtime
        outputs.append(run_native(runtime, native_batch(runtime.info, images_nhwc)))
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], rtol=0, atol=2e-5)
    assert family.macs_per_lr_pixel["branches"] > 2 * family.macs_per_lr_pixel["folded"]


def test_multiply_adds_of_a_known_network(tmp_path: Path) -> None:
    (family,), _ = found([model(tmp_path / "m.onnx")], ORT, tmp_path / "scratch")
    assert family.macs_per_lr_pixel == {"folded": 9 * (3 * 8 + 8 * 8 + 8 * 12), "as it is": 1656.0}
    assert places(family) == [("as it is", "onnxruntime", "fp32")]


def test_families_without_exported_branches_have_them_in_pytorch(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "c.safetensors", "ecbsr")
    selection = Selection(runtimes=("onnxruntime", PYTORCH))
    (family,), notes = found([source], selection, tmp_path / "scratch")
    assert ("branches", PYTORCH, "fp32") in places(family)
    assert ("branches", "onnxruntime", "fp32") not in places(family)
    assert ("folded", "onnxruntime", "fp32") in places(family)
    assert any("with its branches in PyTorch only" in note for note in notes)


def test_a_shorter_file_is_compared_with_the_fp32_one_of_its_network(tmp_path: Path) -> None:
    right = model(tmp_path / "right.onnx")
    short = model(tmp_path / "short.onnx", precision="fp16")
    other = model(tmp_path / "other.onnx", name="Another")
    families, _ = found([short, other, right], ORT, tmp_path / "scratch")
    members = {family.reference: [one.model for one in family.contestants] for family in families}
    assert members == {right: [str(short), str(right)], other: [str(other)]}


@pytest.mark.parametrize("count", [0, 2])
def test_no_reference_or_several_are_an_error(tmp_path: Path, count: int) -> None:
    short = model(tmp_path / "short.onnx", precision="int8")
    others = [model(tmp_path / f"{index}.onnx") for index in range(count)]
    with pytest.raises(UsageError, match=f"same network, Plain-M1C8 x2; {count} of the models given are that"):
        found([short, *others], ORT, tmp_path / "scratch")


def test_features_are_measured_as_the_pictures_that_kernels_make_of_them(tmp_path: Path) -> None:
    whole, features = model(tmp_path / "whole.onnx"), tmp_path / "features.onnx"
    convert(
        read_graph(whole), open_runtime(whole, "onnxruntime").info, features, Target(io="features"), lambda text: None
    )
    families, _ = found([whole, features], ORT, tmp_path / "scratch")
    opened = [contestant.open(1) for family in families for contestant in family.contestants]
    assert [runtime.info.io for runtime in opened] == ["float", "float"]


def test_what_cannot_be_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model '.*missing\.onnx'"):
        found([tmp_path / "missing.onnx"], ORT, tmp_path / "scratch")
    (tmp_path / "foreign.pth").write_bytes(b"PK")
    with pytest.raises(UsageError, match="fold and export it first"):
        found([tmp_path / "foreign.pth"], ORT, tmp_path / "scratch")
    with pytest.raises(UsageError, match="nobody is left to measure"):
        found([model(tmp_path / "m.onnx")], Selection(runtimes=(PYTORCH,)), tmp_path / "scratch")


def test_missing_runtimes_are_noted_with_the_way_out(tmp_path: Path) -> None:
    from repsr_deploy.runtimes import unavailable

    missing = unavailable()
    if not missing:
        pytest.skip("every runtime is here")
    _, notes = found([model(tmp_path / "m.onnx")], Selection(), tmp_path / "scratch")
    assert {f"{name} is not measured: {reason}" for name, reason in missing.items()} <= set(notes)
    _, notes = found([model(tmp_path / "n.onnx")], ORT, tmp_path / "scratch")
    assert not [note for note in notes if "is not measured" in note]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=f"unknown runtime 'cuda'; expected some of {', '.join(RUNTIME_NAMES)}"):
        Selection(runtimes=("onnxruntime", "cuda"))
    with pytest.raises(UsageError, match="unknown precision 'int4'; expected some of fp32, fp16, bf16, int8"):
        precision_named("int4")
    assert precision_named("bf16") == "bf16"


@pytest.mark.parametrize(
    ("stored", "computes", "wanted", "takes"),
    [
        ("fp32", "fp32", ("fp32",), True),
        ("fp32", "bf16", ("fp32",), False),
        ("fp32", "bf16", ("bf16",), True),
        ("fp16", "fp32", ("fp16",), True),
        ("fp16", "fp32", ("fp32",), False),
        ("int8", "int8", (), True),
    ],
)
def test_precisions_select(stored: str, computes: str, wanted: tuple[str, ...], takes: bool) -> None:
    one: Contestant = contestant(Path("m.onnx"), stored=stored, computes=computes)
    assert Selection(precisions=tuple(precision_named(name) for name in wanted)).takes(one) == takes
    assert not Selection(runtimes=("openvino",)).takes(one)


def test_a_contestant_goes_to_another_process_and_back() -> None:
    one = contestant(Path("m.onnx"), stored="int8")
    assert Contestant.from_dict(one.to_dict()) == one
