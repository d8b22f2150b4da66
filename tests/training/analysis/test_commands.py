"""`repsr-train analyse`, run as a user runs it: files, numbers and pictures that show something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from repsr_deploy.checkpoint import CheckpointInfo, save_checkpoint
from repsr_deploy.cli.errors import run
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_train.cli_analyse import app
from tests.nets.networks import randomized, spec_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, and a folder with two photographs."""
    folder = tmp_path_factory.mktemp("analysis")
    (folder / "hr").mkdir()
    write_image(folder / "hr" / "cat.png", skimage.data.chelsea()[60:123, 120:197])
    write_image(folder / "hr" / "coffee.png", skimage.data.coffee()[100:150, 200:290])
    for name, family in (("plain", "srresnet"), ("dropout", "srresnet-dropout"), ("rep", "repsr")):
        spec = spec_of(family)
        save_checkpoint(folder / f"{name}.safetensors", randomized(spec).eval(), CheckpointInfo(spec=spec))
    return folder


def analyse(*arguments: object) -> int:
    return run(app, "repsr-train analyse", [str(argument) for argument in arguments])


def report(path: Path) -> Any:
    return json.loads(path.read_text())


def assert_shows_something(path: Path, least_colours: int) -> None:
    picture = read_image(path)[..., :3]
    assert min(picture.shape[:2]) > 250
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > least_colours
    dark = (picture.max(axis=2) < 100).mean(axis=1)
    assert (dark > 0).sum() > 20  # text or axes
    assert picture[[0, -1]].min() > 200  # nothing touches the edge
    assert picture[:, [0, -1]].min() > 200


def test_saliency_of_two_networks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "saliency"
    photo = place / "hr" / "cat.png"
    options = ("--against", place / "dropout.safetensors", "--kind", "noise", "--crop", 16, "--layer", "hr")
    assert analyse("saliency", place / "plain.safetensors", photo, *options, "--out", out) == 0
    pictures = ["concentration.png", "maps-hr.png", "shares.png"]
    others = ["maps-against.npz", "maps.npz", "saliency.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*pictures, *others])
    for name in pictures:
        assert_shows_something(out / name, 200 if name.startswith("maps") else 20)
    found = report(out / "saliency.json")
    assert found["command"] == "repsr-train analyse saliency"
    assert (found["kind"], found["lr_size"]) == ("noise", [16, 16])
    plain, dropout = found["networks"]
    assert [each["network"]["dropout"] for each in (plain, dropout)] == [0.0, 0.7]
    assert list(plain["layers"]) == ["first", "b1", "b2", "hr", "last"]
    with np.load(out / "maps.npz") as maps:
        assert maps["hr"].shape == (8, 32, 32)
        sums = maps["hr"].sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(plain["layers"]["hr"]["scores"], sums)
    lines = capsys.readouterr().out
    assert f"SRResNet-M2C8, layer hr: Gini coefficient {plain['layers']['hr']['gini']:.3f}" in lines
    assert f"SRResNet-Dropout-M2C8, layer hr: Gini coefficient {dropout['layers']['hr']['gini']:.3f}" in lines


def test_saliency_of_a_picture_as_it_is(place: Path) -> None:
    out = place / "one"
    photo = place / "hr" / "coffee.png"
    assert analyse("saliency", place / "rep.safetensors", photo, "--out", out) == 0
    assert report(out / "saliency.json")["lr_size"] == [90, 50]
    names = {path.name for path in out.iterdir()}
    assert names == {"concentration.png", "maps-body.1.png", "maps-head.png", "maps.npz", "saliency.json", "shares.png"}
    assert_shows_something(out / "maps-body.1.png", 200)


def test_ablation_of_two_networks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "ablation"
    options = ("--against", place / "dropout.safetensors", "--hr", place / "hr", "--colour", "y", "--kind", "jpeg")
    assert analyse("ablation", place / "plain.safetensors", *options, "--out", out) == 0
    assert_shows_something(out / "ablation.png", 20)
    found = report(out / "ablation.json")["networks"]
    assert len(found) == 2
    for each in found:
        assert (each["layer"], each["kind"], each["colour"]) == ("hr", "jpeg", "y")
        assert len(each["change_db"]) == 8
        assert [image["name"] for image in each["images"]] == ["cat.png", "coffee.png"]
    assert f"SRResNet-M2C8, layer hr: {found[0]['psnr_db']:.2f} dB; without a channel" in capsys.readouterr().out


def test_representation(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "representation"
    options = ("--hr", place / "hr", "--crop", 20, "--count", 2, "--out", out)
    assert analyse("representation", place / "plain.safetensors", *options) == 0
    assert_shows_something(out / "representation.png", 20)
    found = report(out / "representation.json")
    assert (found["layer"], len(found["kinds"]), found["components"]) == ("b2", 8, 16)
    assert found["versions"]["sklearn"]
    lines = capsys.readouterr().out
    assert f"Calinski-Harabasz index of the t-SNE (random_state=1): {found['chi_tsne']:.3g}" in lines
    assert f"index of the 16 principal components: {found['chi_principal_components']:.3g}" in lines


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("saliency", "plain.safetensors", "hr/cat.png", "--layer", "hrr"), 2, "no layer 'hrr'; did you mean 'hr'?"),
        (("saliency", "plain.safetensors", "hr/none.png"), 1, "none.png does not exist"),
        (("saliency", "plain.safetensors", "hr/cat.png", "--kind", "clean"), 2, "choose --crop 31 or less"),
        (("saliency", "plain.safetensors", "hr/cat.png", "--against", "plain.safetensors"), 2, "with itself"),
        (("saliency", "plain.safetensors", "hr/cat.png", "--against", "rep.safetensors"), 2, "x2 with layers head to"),
        (("saliency", "hr/cat.png", "hr/cat.png"), 1, "not a readable safetensors file"),
        (("ablation", "plain.safetensors", "--hr", "hr", "--kind", "jpg"), 2, "did you mean 'jpeg'?"),
        (("ablation", "plain.safetensors", "--hr", "hr", "--colour", "cmyk"), 2, "'cmyk' is not one of 'rgb', 'y'"),
        (("ablation", "plain.safetensors", "--hr", "."), 1, "holds no image"),
        (("representation", "plain.safetensors", "--hr", "hr", "--kind", "clean"), 2, "expected two or more"),
        (("representation", "plain.safetensors", "--hr", "hr", "--layer", "body.0"), 2, "no layer 'body.0'"),
    ],
)
def test_bad_requests_are_one_line_and_leave_no_files(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(place)
    assert analyse(*arguments, "--out", "bad") == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(Path("bad").glob("*"))


def test_a_folder_that_cannot_be_made_is_found_out_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "plain.safetensors" / "out"
    assert analyse("ablation", place / "plain.safetensors", "--hr", place / "hr", "--out", out) == 1
    assert "cannot make the folder" in capsys.readouterr().err


def test_networks_of_one_name_are_called_after_their_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twin = place / "other" / "plain.safetensors"
    twin.parent.mkdir()
    twin.write_bytes((place / "plain.safetensors").read_bytes())
    arguments = ("--against", twin, "--hr", place / "hr", "--out", place / "twins")
    assert analyse("ablation", place / "plain.safetensors", *arguments) == 0
    assert "other/plain.safetensors, layer hr" in capsys.readouterr().out
