"""The training state: exact resume, and what survives what."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from repsr_deploy.checkpoint import CheckpointInfo, load_tensors, save_checkpoint
from repsr_deploy.errors import ModelFileError, RepsrError, UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_train.data import Pair
from repsr_train.state import STATE, has_state, load_state, save_state
from repsr_train.trainer import Hooks, train

from .conftest import Training, training_of


def stopped_at(training: Training, step: int, folder: Path) -> None:
    """Train to `step` and save."""
    train(training.learner, training.batches, Hooks(should_stop=lambda: training.learner.step >= step))
    save_state(folder, training.learner, {"best": step})


def silent(_line: str) -> None:
    """Receives lines for the user."""


def assert_same(first: Training, second: Training) -> None:
    pairs = [
        (one.learner.net, one.learner.averaged(one.batches.statistics(one.learner.step))) for one in (first, second)
    ]
    for mine, other in zip(*pairs, strict=True):
        assert mine.state_dict().keys() == other.state_dict().keys()
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in mine.state_dict().items())


@pytest.mark.parametrize("stop", [3, 10, 17])  # in the first phase, at the switch (step 10), after it
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("repsr-m1c4-x2", ("freeze_affine=true", "grad_clip=0.1")),
        ("ecbsr-m1c4-x2", ("optimizer=soap",)),
        ("srresnet-dropout-m1c4-x2", ("degradation=bicubic", "usm=false", "patch=12", "loss=charbonnier")),
    ],
)
def test_resumed_training_is_bit_identical(
    name: str, changes: tuple[str, ...], stop: int, pairs: Sequence[Pair], tmp_path: Path
) -> None:
    whole, first, second = (training_of(pairs, name, *changes) for _ in range(3))
    train(whole.learner, whole.batches, Hooks())
    stopped_at(first, stop, tmp_path)
    assert load_state(tmp_path, second.learner, silent) == {"best": stop}
    assert second.learner.step == stop
    train(second.learner, second.batches, Hooks())
    assert_same(whole, second)
    for key, value in whole.learner.guard.tensors.items():
        assert torch.equal(value, second.learner.guard.tensors[key]), key


def test_the_first_state_of_a_run_from_other_weights_resumes_too(pairs: Sequence[Pair], tmp_path: Path) -> None:
    changes = ("population_from=0", "steps=4")
    whole, second = (training_of(pairs, "repsr-m1c4-x2", *changes) for _ in range(2))
    trained = training_of(pairs, "repsr-m1c4-x2", "seed=5", "steps=6").learner
    whole.learner.start_from(trained.net.state_dict())
    save_state(tmp_path, whole.learner, {})
    train(whole.learner, whole.batches, Hooks())
    load_state(tmp_path, second.learner, silent)
    train(second.learner, second.batches, Hooks())
    assert_same(whole, second)


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_damaged_state_falls_back_to_the_previous_one(damage: str, pairs: Sequence[Pair], tmp_path: Path) -> None:
    training = training_of(pairs, "plain-m1c4-x2")
    stopped_at(training, 5, tmp_path)
    stopped_at(training, 8, tmp_path)
    newest = tmp_path / STATE
    if damage == "missing":
        newest.unlink()
    else:
        newest.write_bytes(newest.read_bytes()[:200] if damage == "cut" else b"")
    said: list[str] = []
    again = training_of(pairs, "plain-m1c4-x2")
    assert load_state(tmp_path, again.learner, said.append) == {"best": 5}
    assert again.learner.step == 5
    assert len(said) == 1
    assert STATE in said[0]
    assert "going on from the older state, step 5" in said[0]


def test_no_readable_state_is_an_error(pairs: Sequence[Pair], tmp_path: Path) -> None:
    training = training_of(pairs, "plain-m1c4-x2")
    assert not has_state(tmp_path)
    (tmp_path / STATE).write_bytes(b"nothing")
    assert has_state(tmp_path)
    with pytest.raises(ModelFileError, match=r"cannot resume: .*state\.safetensors is not .*state\.previous"):
        load_state(tmp_path, training.learner, silent)
    save_checkpoint(tmp_path / STATE, training.learner.net, CheckpointInfo(spec=training.recipe.network))
    with pytest.raises(ModelFileError, match="is no training state"):
        load_state(tmp_path, training.learner, silent)


def test_a_changed_recipe_is_refused_by_key(pairs: Sequence[Pair], tmp_path: Path) -> None:
    save_state(tmp_path, training_of(pairs, "repsr-m1c4-x2").learner, {})
    changed = training_of(pairs, "repsr-m1c4-x2", "lr=1e-3", "steps=40", "network.channels=6", "usm=false").learner
    expected = r"network\.channels was 4 and is 6, steps was 20 and is 40, lr was 0\.002 and is 0\.001; resume with"
    with pytest.raises(UsageError, match=expected):
        load_state(tmp_path, changed, silent)
    family = training_of(pairs, "ecbsr-m1c4-x2").learner
    with pytest.raises(UsageError, match=r"network\.family was repsr and is ecbsr"):
        load_state(tmp_path, family, silent)


def test_a_full_disk_loses_nothing_older(pairs: Sequence[Pair], tmp_path: Path) -> None:
    training = training_of(pairs, "plain-m1c4-x2")
    stopped_at(training, 5, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(RepsrError, match=r"cannot write .*state"):
            save_state(tmp_path, training.learner, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


KILLED = """
import io, os, random, signal, sys, time
from pathlib import Path
import torch, torch._dynamo, torch.utils.tensorboard.writer, matplotlib.figure  # once, before the forks
from rich.console import Console
from repsr_train.experiment import Experiment, run_experiment
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.state import STATE, has_state

torch.set_num_threads(1)
folder, chosen = Path(sys.argv[1]), assign(recipe("repsr-m1c4-x2"), sys.argv[2:])
photographs = [folder / "photographs"]

def written(out):
    try:
        return (out / STATE).stat().st_mtime_ns
    except FileNotFoundError:  # not yet, or just being replaced
        return 0

def life(out, states, seconds):
    # run until the end, or be killed so long after writing so many states; whether it was
    child = os.fork()
    if child == 0:
        asked = Experiment(recipe=chosen, data=photographs, validation=photographs, out=out, resume=has_state(out))
        run_experiment(asked, Console(file=io.StringIO()))
        os._exit(0)
    last, ends = written(out), None
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        now = written(out)
        states, last = states - (now != last), now
        if states <= 0 and ends is None:
            ends = time.monotonic() + seconds
        if ends is not None and time.monotonic() >= ends:
            break
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0

assert not life(folder / "whole", 1000, 0)
chance, lives = random.Random(0), 1
while life(folder / "killed", lives % 4, chance.uniform(0, 0.1)):
    lives += 1
print(lives)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(pairs: Sequence[Pair], tmp_path: Path) -> None:
    for pair in pairs:
        write_image(tmp_path / "photographs" / f"{pair.name}.png", pair.hr_hwc)
    changes = (
        "steps=160",
        "batch=2",
        "patch=8",
        "warmup=5",
        "population_from=0.3",
        "validate_every=60",
        "save_every=7",
    )
    command = [sys.executable, "-c", KILLED, str(tmp_path), *changes]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 5, "it was not killed often enough to show anything"
    for name in (STATE, "checkpoint.safetensors", "best.safetensors"):
        first, second = (load_tensors(tmp_path / folder / name)[0] for folder in ("whole", "killed"))
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items())
    rows = [(tmp_path / folder / "metrics.jsonl").read_text().splitlines() for folder in ("whole", "killed")]
    first, second = ([{**json.loads(line), "images_per_s": 0} for line in lines] for lines in rows)
    assert first == second
