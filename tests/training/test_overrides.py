"""Changes to recipes: typed, with near misses, from the command line and from YAML, in that order of weight."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.nets.spec import StackSpec
from repsr_train.overrides import assign, read_config
from repsr_train.recipes import recipe

BASE = recipe("repsr-m4c16-x2")


def test_assignments_are_typed() -> None:
    changed = assign(
        BASE,
        ["lr=5e-4", "batch=8", "precision=bf16", "compile=yes", "betas=0.9,0.99", "steps=1e6", "network.expansion=3"],
    )
    assert (changed.lr, changed.batch, changed.precision, changed.compile) == (5e-4, 8, "bf16", True)
    assert (changed.betas, changed.steps) == ((0.9, 0.99), 1_000_000)
    assert isinstance(changed.steps, int)
    assert isinstance(changed.network, StackSpec)
    assert changed.network.expansion == 3
    assert assign(BASE, ["schedule=steps", "milestones=0.5"]).milestones == (0.5,)
    assert assign(BASE, []) == BASE


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "--set lr: expected KEY=VALUE"),
        ("batchs=3", "unknown key 'batchs'; did you mean 'batch'?"),
        ("warm-up=3", "unknown key 'warm-up'; did you mean 'warmup'?"),
        ("network.expansin=3", "unknown key 'network.expansin'; did you mean 'network.expansion'?"),
        ("zzz=3", "unknown key 'zzz'; the keys are steps, batch, .*network.paths"),
        ("network=3", "unknown key 'network'"),
        ("batch=1.5", "batch is '1.5'; expected a whole number"),
        ("batch=inf", "batch is 'inf'; expected a whole number"),
        ("batch=", "batch is ''; expected a whole number"),
        ("lr=fast", "lr is 'fast'; expected a number"),
        ("compile=perhaps", "compile is 'perhaps'; expected true or false"),
        ("betas=0.9", "betas is '0.9'; expected 2 numbers"),
        ("milestones=a,b", "milestones is 'a'; expected a number"),
        ("network.family=edsr", "network.family is 'edsr', but the recipe trains 'repsr'; choose a recipe by its name"),
    ],
)
def test_wrong_assignments_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign(BASE, [assignment])


def test_yaml_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 1e-3  # text, for YAML 1.1\nsteps: 5000\nusm: no\nbetas: [0.9, 0.99]\nnetwork:\n  paths: 3\n")
    changed = read_config(BASE, path)
    assert (changed.lr, changed.steps, changed.usm, changed.betas) == (1e-3, 5000, False, (0.9, 0.99))
    assert isinstance(changed.network, StackSpec)
    assert changed.network.paths == 3


def test_command_line_outweighs_yaml_outweighs_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 0.001\nbatch: 4\n")
    changed = assign(read_config(BASE, path), ["batch=2"])
    assert (changed.lr, changed.batch, changed.patch) == (1e-3, 2, BASE.patch)


def test_what_show_prints_is_a_config(tmp_path: Path) -> None:
    changed = assign(BASE, ["lr=1e-5", "schedule=steps", "milestones=0.3,0.6", "network.paths=1"])
    path = tmp_path / "shown.json"
    path.write_text(changed.to_json())
    assert read_config(BASE, path) == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: [", "is no YAML"),
        ("- lr", "holds list; expected a mapping"),
        ("", "holds NoneType; expected a mapping"),
        ("batch: true", "batch is 'true'; expected a whole number"),
        ("betas: 0.9", "betas is '0.9'; expected 2 numbers"),
        ("network:\n  channel: 3", "unknown key 'network.channel'; did you mean 'network.channels'?"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_wrong_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(BASE, path)
    assert "mine.yaml" in str(caught.value)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*missing\.yaml"):
        read_config(BASE, tmp_path / "missing.yaml")
