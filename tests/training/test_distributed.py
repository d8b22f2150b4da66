"""Two processes on the CPU train what one trains with the whole batch."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsr_deploy.checkpoint import load_checkpoint, load_tensors
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_train.data import Pair
from repsr_train.distributed import ALONE, Processes

SCRIPT = """
import io, os, signal, sys, time
from pathlib import Path
import torch, torch._dynamo, torch.utils.tensorboard.writer, matplotlib.figure  # once, before the forks
from rich.console import Console
from repsr_deploy.errors import RepsrError
from repsr_train.experiment import Experiment, run_experiment
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.state import has_state

torch.set_num_threads(1)
folder, port = Path(sys.argv[1]), sys.argv[2]
chosen = assign(recipe("repsr-m1c4-x2"), sys.argv[3:])

def start(name, rank, count):
    child = os.fork()
    if child == 0:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        out = folder / name
        resumes = name == "stopped" and count == 1
        asked = Experiment(recipe=chosen, data=[folder / "photographs"], out=out, resume=resumes)
        printed, code = io.StringIO(), 0
        try:
            run_experiment(asked, Console(file=printed))
        except RepsrError as error:
            printed.write(str(error))
            code = error.exit_code
        (folder / f"{name}-{rank}-of-{count}.txt").write_text(printed.getvalue())
        os._exit(code)
    return child

def codes(*children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

def wait_for_a_report(name):
    path = folder / name / "metrics.jsonl"
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)

print(codes(start("one", 0, 1)))
print(codes(start("two", 0, 2), start("two", 1, 2)))
first, second = start("stopped", 0, 2), start("stopped", 1, 2)
wait_for_a_report("stopped")
os.kill(second, signal.SIGTERM)
print(codes(first, second))
print(codes(start("stopped", 0, 1)))
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(pairs: Sequence[Pair], tmp_path: Path) -> None:
    for pair in pairs:
        write_image(tmp_path / "photographs" / f"{pair.name}.png", pair.hr_hwc)
    changes = ("steps=60", "batch=4", "patch=8", "warmup=30", "population_from=0.4", "save_every=10", "lr=1e-3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), port, *changes]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert result.stdout.splitlines() == ["[0]", "[0, 0]", "[130, 130]", "[0]"], result.stdout + result.stderr
    assert "stopped at step" in (tmp_path / "stopped-1-of-2.txt").read_text()

    one = weights(tmp_path / "one")
    for name in ("two", "stopped"):
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "one"), rtol=1e-5)
        other = weights(tmp_path / name)
        assert one.keys() == other.keys()
        for key, value in one.items():
            torch.testing.assert_close(other[key], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(output(tmp_path / name), output(tmp_path / "one"), rtol=0, atol=1e-5)
    assert (tmp_path / "two-0-of-2.txt").read_text().count("wrote") == 1
    assert "wrote" not in (tmp_path / "two-1-of-2.txt").read_text()
    described: dict[str, Any] = json.loads((tmp_path / "two" / "run.json").read_text())
    assert described["machine"]["processes"] == 2


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Those that the loss depends on: a bias before BatchNorm has no gradient but noise, of which Adam makes steps."""
    state = load_tensors(folder / "state.safetensors")[0]
    noise = ("expand.bias", "running_mean")
    return {
        key: value for key, value in state.items() if key.startswith(("net.", "average.")) and not key.endswith(noise)
    }


def output(folder: Path) -> torch.Tensor:
    """What the averaged network makes of an image."""
    net, _ = load_checkpoint(folder / "checkpoint.safetensors")
    with torch.no_grad():
        return net(torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0)))


def losses(folder: Path) -> list[float]:
    """Of each step, from the guard's record."""
    return load_tensors(folder / "state.safetensors")[0]["guard.losses"][:60].tolist()


def test_one_process_has_the_whole_batch_and_talks_to_nobody() -> None:
    tensor = torch.ones(3)
    ALONE.average([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert ALONE.part(7) is None
    assert ALONE.leads
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.differentiable_mean is None


def test_parts_cover_the_batch() -> None:
    assert [Processes(rank, 4).part(12) for rank in range(4)] == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)]
    with pytest.raises(UsageError, match="batch is 10, for 4 processes; expected a multiple of 4"):
        Processes(0, 4).part(10)
