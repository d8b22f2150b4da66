"""Engine files of another TensorRT or another GPU, damaged ones, and what a record keeps."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.errors import ModelFileError
from repsr_deploy.files import sha256
from repsr_deploy.runtimes.tensorrt import BuildOptions, Flavour
from repsr_deploy.runtimes.tensorrt.engine_file import check_fits, read_record
from repsr_deploy.runtimes.tensorrt.record import FORMAT, EngineRecord, Recipe, device_slug, record_path, slug
from repsr_kernels.gpu.driver import Device
from tests.runtimes.tensorrt.models import model_info

ADA = Device(name="NVIDIA GeForce RTX 4090", compute_capability="8.9")
SMALL_ADA = Device(name="NVIDIA L4", compute_capability="8.9")
AMPERE = Device(name="NVIDIA A100-SXM4-80GB", compute_capability="8.0")
BLACKWELL = Device(name="NVIDIA GeForce RTX 5090", compute_capability="12.0")
TURING = Device(name="Tesla T4", compute_capability="7.5")


def recipe(
    flavour: Flavour = "tensorrt", version: str = "11.4.0.106", gpu: Device | None = ADA, **options: Any
) -> Recipe:
    return Recipe.of("ab" * 32, model_info(range=(0.0, 1.0)), flavour, version, BuildOptions(**options), gpu)


def write_engine(folder: Path, made: Recipe, plan: bytes = b"plan" * 99) -> Path:
    record = EngineRecord(
        recipe=made, plan_sha256=sha256(plan), plan_bytes=len(plan), convolutions={"fp32": 4}, build_s=1.5
    )
    path = folder / "made.engine"
    path.write_bytes(plan)
    record_path(path).write_text(record.to_json())
    return path


def test_a_record_keeps_everything(tmp_path: Path) -> None:
    made = recipe(compute_capabilities=("8.6", "8.9"))
    record = read_record(write_engine(tmp_path, made))
    assert record.recipe == made
    assert record.recipe.key == made.key
    assert record.info == model_info()


def test_every_part_of_a_recipe_is_part_of_its_key() -> None:
    base = recipe()
    others = [
        recipe(version="11.4.0.107"),
        recipe(gpu=SMALL_ADA),
        recipe(gpu=replace(ADA, compute_capability="9.0")),
        recipe(flavour="tensorrt-rtx"),
        recipe(level=4),
        recipe(tf32=True),
        recipe(workspace_bytes=1),
        recipe(hardware="ampere+"),
        recipe(version_compatible=True),
        replace(base, model_sha256="cd" * 32),
        replace(base, shapes=[[1, 1, 2]] * 3),
        replace(base, format=FORMAT + 1),
    ]
    assert len({base.key, *(other.key for other in others)}) == len(others) + 1
    assert recipe(timing_cache=Path("elsewhere")).key == base.key == recipe().key


def test_the_gpu_of_a_portable_engine_is_no_part_of_it() -> None:
    assert recipe("tensorrt-rtx", gpu=ADA) == recipe("tensorrt-rtx", gpu=None)
    assert recipe("tensorrt-rtx", gpu=ADA, compute_capabilities=("current",)).device is not None


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (recipe(), "rtx-4090-sm89"),
        (recipe(gpu=AMPERE), "a100-sxm4-80gb-sm80"),
        (recipe(gpu=TURING), "tesla-t4-sm75"),
        (recipe(gpu=None), "unknown-gpu"),
        (recipe("tensorrt-rtx"), "portable"),
        (recipe("tensorrt-rtx", compute_capabilities=("8.6", "12.0")), "sm86-sm120"),
        (recipe("tensorrt-rtx", gpu=BLACKWELL, compute_capabilities=("current",)), "rtx-5090-sm120"),
    ],
)
def test_names_of_gpus(made: Recipe, name: str) -> None:
    assert device_slug(made) == name


def test_names_of_models() -> None:
    assert slug("photo-x2") == "photo-x2"
    assert slug("../a b/ü:c") == "a-b-c"
    assert slug("***") == "model"
    assert len(slug("x" * 500)) == 60


@pytest.mark.parametrize(
    ("made", "flavour", "version", "gpu", "message"),
    [
        (recipe(), "tensorrt", "10.16.1.11", ADA, "built for tensorrt 11.4.0.106, and here is 10.16.1.11"),
        (recipe(), "tensorrt", "11.4.0.107", None, "and here is 11.4.0.107"),
        (recipe(), "tensorrt-rtx", "1.7.1.116", ADA, "tensorrt 11.4.0.106, and this is tensorrt-rtx 1.7.1.116"),
        (recipe(version_compatible=True), "tensorrt", "12.0.0.1", ADA, "here is 12.0.0.1"),
        (recipe(version_compatible=True), "tensorrt", "11.3.0.9", ADA, "here is 11.3.0.9"),
        (recipe(), "tensorrt", "11.4.0.106", BLACKWELL, "RTX 4090 of compute capability 8.9, and this .* has 12.0"),
        (recipe(hardware="same-compute-capability"), "tensorrt", "11.4.0.106", AMPERE, "has 8.0"),
        (recipe(hardware="ampere+"), "tensorrt", "11.4.0.106", TURING, "has 7.5"),
        (recipe("tensorrt-rtx", "1.7.1.116"), "tensorrt-rtx", "1.7.1.116", TURING, "8.0 and later, and this Tesla T4"),
        (
            recipe("tensorrt-rtx", "1.7.1.116", compute_capabilities=("8.6",)),
            *("tensorrt-rtx", "1.7.1.116", ADA, "compute capability 8.6, and this .* has 8.9"),
        ),
    ],
)
def test_an_engine_of_elsewhere_is_named(
    made: Recipe, flavour: Flavour, version: str, gpu: Device | None, message: str
) -> None:
    with pytest.raises(ModelFileError, match=f"{message}.*build it again"):
        check_fits(Path("x.engine"), made, flavour, version, gpu)


@pytest.mark.parametrize(
    ("made", "version", "gpu"),
    [
        (recipe(), "11.4.0.106", ADA),
        (recipe(), "11.4.0.106", None),
        (recipe(version_compatible=True), "11.10.0.1", ADA),
        (recipe(hardware="ampere+"), "11.4.0.106", BLACKWELL),
        (recipe("tensorrt-rtx", "1.7.1.116"), "1.7.1.116", BLACKWELL),
        (recipe("tensorrt-rtx", "1.7.1.116", compute_capabilities=("7.5",)), "1.7.1.116", TURING),
    ],
)
def test_an_engine_that_fits(made: Recipe, version: str, gpu: Device | None, caplog: pytest.LogCaptureFixture) -> None:
    check_fits(Path("x.engine"), made, made.flavour, version, gpu)
    assert ("may be slow" in caplog.text) == (made.options["hardware"] == "ampere+")


def test_the_same_capability_on_another_card_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_fits(Path("x.engine"), recipe(), "tensorrt", "11.4.0.106", SMALL_ADA)
    assert "built on a NVIDIA GeForce RTX 4090 and may be slow on this NVIDIA L4" in caplog.text


def test_damage_is_named(tmp_path: Path) -> None:
    path = write_engine(tmp_path, recipe())
    plan = path.read_bytes()
    for content in (plan[:-1], b"x" + plan[1:]):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"corrupted: .* build it again from its model"):
            read_record(path)
    path.write_bytes(plan)
    for text in ("", "[]", "{}", '{"recipe": {}}', record_path(path).read_text().replace("build_s", "colour")):
        record_path(path).write_text(text)
        with pytest.raises(ModelFileError, match="is no record of an engine"):
            read_record(path)
    record_path(path).unlink()
    with pytest.raises(ModelFileError, match=r"has no made.engine.json beside it"):
        read_record(path)
    path.unlink()
    with pytest.raises(ModelFileError, match="is no file"):
        read_record(path)
