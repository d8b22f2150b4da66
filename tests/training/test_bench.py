"""The benchmark of training steps: ratios, and candidates that must agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from repsr_deploy.bench.timing import Timing
from repsr_deploy.cli.errors import run
from repsr_deploy.errors import ProofError
from repsr_deploy.folding.forward import folded_forward
from repsr_deploy.nets.network import Network
from repsr_train import bench
from repsr_train.bench import BASELINE, CANDIDATES, StepTimes, app, step_times


def test_every_candidate_is_timed_beside_the_plain_network() -> None:
    threads = torch.get_num_threads()
    times = step_times(batch=1, patch=8, threads=1, seconds=0.1)
    assert torch.get_num_threads() == threads
    assert list(times.timings) == list(CANDIDATES)
    assert len({len(timing.times_s) for timing in times.timings.values()}) == 1
    rows = times.to_dict()["steps"]
    assert rows[BASELINE]["ratio_to_plain"] == {"lower_quartile": 1, "median": 1, "upper_quartile": 1}
    assert all(row["median_ms"] > 0 for row in rows.values())


def test_ratios_are_taken_within_rounds() -> None:
    plain, other = Timing((1.0, 10.0, 2.0, 4.0, 1.0)), Timing((2.0, 30.0, 2.0, 16.0, 5.0))
    times = StepTimes(batch=1, patch=8, threads=1, timings={BASELINE: plain, "other": other})
    assert times.ratio("other") == (2, 3, 4)  # of 2, 3, 1, 4, 5


def test_steps_that_compute_something_else_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(net: Network, x_nchw: Tensor) -> Tensor:
        return folded_forward(net, x_nchw) * 1.001

    monkeypatch.setattr(bench, "folded_forward", wrong)
    with pytest.raises(ProofError, match="Plain-M4C16 folded differs from its branches by"):
        step_times(batch=1, patch=8, threads=1, seconds=0.1)


def test_steps_do_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed lowers the loss: a step without its backward pass or optimizer would be fast for nothing."""
    lr_nchw, hr_nchw = torch.rand(2, 3, 8, 8), torch.full((2, 3, 16, 16), 0.5)
    losses: list[float] = []

    def recorded(output_nchw: Tensor, target_nchw: Tensor) -> Tensor:
        loss = (output_nchw - target_nchw).abs().mean()
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(bench.F, "l1_loss", recorded)
    for name, phase in CANDIDATES.values():
        losses.clear()
        step = bench._step(name, phase, lr_nchw, hr_nchw)  # type: ignore[reportPrivateUsage]
        for _ in range(15):
            step()
        assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_command_writes_times_and_loader_speeds(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--batch", "1", "--patch", "8", "--threads", "1", "--seconds", "0.1", "--workers", "1"]
    assert run(app, "bench training", [*arguments, "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["machine"]["threads"] == 1
    assert set(content["training"]["steps"]) == set(CANDIDATES)
    assert len(content["loader"]["patches_per_s"]) == 3
