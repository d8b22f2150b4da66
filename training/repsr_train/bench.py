"""`python -m repsr_train.bench`, which `scripts/bench training` runs: what a training step costs in each phase.

A step is forward, L1 loss, backward and Adam, as training takes it, on one batch of random crops; the network's family
and phase are all that differs. Reading and cutting crops is measured apart.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from repsr_deploy.bench.machine import describe_machine
from repsr_deploy.bench.timing import Timing, time_side_by_side
from repsr_deploy.cli.errors import run
from repsr_deploy.errors import ProofError
from repsr_deploy.files import write_text
from repsr_deploy.folding.forward import folded_forward
from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.norm import use_population_statistics
from repsr_deploy.tolerances import TOLERANCES
from repsr_train.batches import to_network
from repsr_train.data import Pair, load_data
from repsr_train.data.bench import loader_speed
from repsr_train.optimizers import make_optimizer
from repsr_train.recipes import recipe

Phase = Literal["batch", "branches", "folded"]
"""`batch`: through the branches with mini-batch statistics, the first phase of training. `branches`, `folded`: with
population statistics, through the branches or the equal folded kernels, as training does it."""

BASELINE = "plain"
CANDIDATES: dict[str, tuple[str, Phase]] = {
    BASELINE: ("plain-m4c16-x2", "branches"),
    "RepSR, BN phase": ("repsr-m4c16-x2", "batch"),
    "RepSR, BN frozen, branches": ("repsr-m4c16-x2", "branches"),
    "RepSR, BN frozen, folded": ("repsr-m4c16-x2", "folded"),
    "ECBSR, branches": ("ecbsr-m4c16-x2", "branches"),
    "ECBSR, folded": ("ecbsr-m4c16-x2", "folded"),
    "WDSR-A, folded": ("wdsr-a-m4c16-x2", "folded"),
    "EDSR, folded": ("edsr-m4c16-x2", "folded"),
    "EDSR-AdaDM, BN phase": ("edsr-adadm-m4c16-x2", "batch"),
}
"""What is timed: name -> recipe and phase; all networks enlarge x2."""

PHOTOGRAPH = (1080, 1920)
"""Size of the random images that crops are cut from when there are no photographs; contents do not matter for that."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Times of a step for each candidate, taken in turns."""

    batch: int
    patch: int
    threads: int
    timings: dict[str, Timing]

    def ratio(self, name: str) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the ratio to the plain network within a round."""
        pairs = zip(self.timings[name].times_s, self.timings[BASELINE].times_s, strict=True)
        low, middle, high = statistics.quantiles((mine / plain for mine, plain in pairs), n=4, method="inclusive")
        return low, middle, high

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: for each candidate the median in ms, the quartiles of its ratio, and every time."""
        rows = {
            name: {
                "median_ms": timing.median_s * 1e3,
                "ratio_to_plain": dict(
                    zip(("lower_quartile", "median", "upper_quartile"), self.ratio(name), strict=True)
                ),
                "times_s": timing.times_s,
            }
            for name, timing in self.timings.items()
        }
        return {"batch": self.batch, "patch": self.patch, "threads": self.threads, "steps": rows}


def step_times(*, batch: int = 16, patch: int = 64, threads: int = 1, seconds: float = 60.0) -> StepTimes:
    """Time a training step of every candidate, side by side.

    Args:
        batch: crops of a step.
        patch: their side, LR pixels.
        threads: of PyTorch.
        seconds: of measurement for all candidates together.

    Raises:
        ProofError: folded kernels and branches do not compute the same.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        random = np.random.default_rng(0)
        lr_nchw, hr_nchw = (
            to_network(random.integers(0, 256, (batch, 3, side, side), np.uint8), "rgb", torch.device("cpu"))
            for side in (patch, 2 * patch)
        )
        steps = {name: _step(*candidate, lr_nchw, hr_nchw) for name, candidate in CANDIDATES.items()}
        timings = time_side_by_side(steps, seconds=seconds)
    finally:
        torch.set_num_threads(threads_before)
    return StepTimes(batch=batch, patch=patch, threads=threads, timings=timings)


def _step(name: str, phase: Phase, lr_nchw: Tensor, hr_nchw: Tensor) -> Callable[[], None]:
    """A step of training on that batch, as a function to time."""
    chosen = recipe(name)
    torch.manual_seed(0)
    net = build(chosen.network).train()
    if phase != "batch":
        net(lr_nchw)  # gives every norm statistics
        use_population_statistics(net)
        _check_equal(net, lr_nchw)
    optimizer = make_optimizer(chosen, net.parameters())

    def step() -> None:
        output_nchw = folded_forward(net, lr_nchw) if phase == "folded" else net(lr_nchw)
        loss = F.l1_loss(output_nchw, hr_nchw)
        net.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@torch.no_grad()
def _check_equal(net: Network, lr_nchw: Tensor) -> None:
    difference = (folded_forward(net, lr_nchw) - net(lr_nchw)).abs().max().item()
    if not difference <= TOLERANCES["store"]:
        raise ProofError(f"{net.spec.name} folded differs from its branches by {difference:.3g} of the range")


def _photographs(data: Path | None) -> tuple[Pair, ...]:
    if data is not None:
        return load_data(data, 2).pairs
    random = np.random.default_rng(0)
    height, width = PHOTOGRAPH
    return tuple(
        Pair(
            f"random {index}",
            random.integers(0, 256, (height, width, 3), np.uint8),
            random.integers(0, 256, (height // 2, width // 2, 3), np.uint8),
        )
        for index in range(8)
    )


app = typer.Typer(add_completion=False)


@app.command()
def bench(
    batch: Annotated[int, typer.Option(min=1, help="Crops of a step.")] = 16,
    patch: Annotated[int, typer.Option(min=8, help="Their side, LR pixels.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = os.cpu_count() or 1,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of measurement for the steps.")] = 60.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the streaming loader.")] = 2,
    data: Annotated[Path | None, typer.Option(help="Photographs or store to cut from; default: random images.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Also write every time as JSON.")] = None,
) -> None:
    """Measure what a training step costs in each phase, as a ratio to the plain network, and how fast crops are cut."""
    times = step_times(batch=batch, patch=patch, threads=threads, seconds=seconds)
    console = Console(highlight=False)
    console.print(_table(times))
    loader = loader_speed(
        _photographs(data),
        scale=2,
        patch=patch,
        batch=batch,
        device=torch.device("cpu"),
        workers=workers,
        seconds=min(seconds, 5.0),
    )
    for name, patches_per_s in loader["patches_per_s"].items():
        console.print(f"crops cut by {name}: {patches_per_s:,} a second")
    if out is not None:
        report = {"machine": describe_machine(threads), "training": times.to_dict(), "loader": loader}
        write_text(out, json.dumps(report, indent=2) + "\n")
        console.print(f"wrote {out}", markup=False)


def _table(times: StepTimes) -> Table:
    title = f"Training step, M4C16 x2, {times.batch} crops of {times.patch}x{times.patch}, {times.threads} thread(s)"
    table = Table("", "median ms", "ratio to plain", "quartiles", "runs", title=title, title_justify="left")
    for name, timing in times.timings.items():
        low, middle, high = times.ratio(name)
        cells = (f"{timing.median_s * 1e3:.1f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}")
        table.add_row(name, *cells, str(len(timing.times_s)))
    return table


if __name__ == "__main__":
    raise SystemExit(run(app, "bench training"))
