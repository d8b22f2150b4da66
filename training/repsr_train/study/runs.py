"""The training runs of a study: each one a `repsr-train` in a process and a folder of its own, kept and continued."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.checkpoint import CheckpointInfo, load_tensors
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import write_text
from repsr_train.folder import CHECKPOINT
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.state import STATE, has_state
from repsr_train.study.catalogue import Study, Variant

PLAN = "plan.json"
POLL_S = 0.2

Say = Callable[[str], None]


class Interrupted(RepsrError):  # noqa: N818
    """The user stopped the study; everything done is kept."""

    exit_code = 130


@dataclass(frozen=True, kw_only=True)
class Run:
    """One variant with one seed."""

    variant: Variant
    seed: int
    steps: int
    folder: Path
    arguments: tuple[str, ...]
    """For `repsr-train`: all that decides the weights."""

    @property
    def name(self) -> str:
        """`repsr-switch-0`."""
        return f"{self.variant.name}-{self.seed}"

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.folder.with_name(f"{self.name}.log")

    @property
    def is_finished(self) -> bool:
        """Whether checkpoint and state are those of the last step."""
        checkpoint, state = self.folder / CHECKPOINT, self.folder / STATE
        if not (checkpoint.is_file() and state.is_file()):
            return False
        entry = CheckpointInfo.from_metadata(load_tensors(checkpoint)[1]).history[-1]
        return entry["step"] == int(load_tensors(state)[1]["step"]) == self.steps


def plan_runs(
    study: Study,
    *,
    data: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    steps: int,
    seeds: Sequence[int],
    settings: Sequence[str],
) -> list[Run]:
    """Every variant with every seed, seed by seed, so that what is there after a while compares all variants.

    Raises:
        UsageError: `settings` are impossible or what variants differ in, or `out` holds runs of these names with
            others.
    """
    _refuse_differences(study, settings)
    folders = [
        *(text for path in data for text in ("--data", str(path.resolve()))),
        *(text for path in validation for text in ("--val", str(path.resolve()))),
    ]
    # validations cost as much as some hundred steps: enough of them for a curve
    common = (*study.settings, f"validate_every={max(1, steps // 6)}", f"save_every={max(1, steps // 6)}")
    runs: list[Run] = []
    for seed in seeds:
        for variant in study.variants:
            values = (*common, *settings, *variant.settings, f"steps={steps}", f"seed={seed}")
            assign(recipe(variant.recipe), values)  # a wrong key or value shows before any work
            changes = [text for value in values for text in ("--set", value)]
            folder = out / "runs" / f"{variant.name}-{seed}"
            arguments = (variant.recipe, *folders, *changes)
            runs.append(Run(variant=variant, seed=seed, steps=steps, folder=folder, arguments=arguments))
    _remember(out / PLAN, {run.name: list(run.arguments) for run in runs})
    return runs


def _refuse_differences(study: Study, settings: Sequence[str]) -> None:
    differing = {text.partition("=")[0] for variant in study.variants for text in variant.settings}
    for key in (text.partition("=")[0] for text in settings):
        if key in differing:
            raise UsageError(f"--set {key}: that is what the variants of {study.name} differ in; set something else")


def _remember(path: Path, plan: dict[str, list[str]]) -> None:
    """Write down what the runs are, and refuse to mix runs that are different."""
    before: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}
    for name, arguments in plan.items():
        known = before.get(name, arguments)
        if arguments != known:
            new = " ".join(text for text in arguments if text not in known) or "fewer"
            raise UsageError(
                f"{path.parent} holds run {name} with other settings (new: {new}); choose another --out, or the "
                "settings of before"
            )
    write_text(path, json.dumps(before | plan, indent=1) + "\n")


def train_all(runs: Sequence[Run], *, jobs: int, threads: int, device: str, say: Say) -> None:
    """Train what is not finished yet, `jobs` runs at a time; interrupted ones go on where they stopped.

    Raises:
        Interrupted: by Ctrl-C or a termination signal; the runs have saved their states.
        RepsrError: a run failed; the others have saved their states.
    """
    waiting = [run for run in runs if not run.is_finished]
    if len(waiting) < len(runs):
        say(f"{len(runs) - len(waiting)} of {len(runs)} runs are finished already")
    total, done, started = len(waiting), 0, time.monotonic()
    waiting.reverse()
    running: dict[Run, subprocess.Popen[bytes]] = {}
    with _signals_as_keyboard_interrupt():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop()
                    running[run] = _start(run, threads, device)
                time.sleep(POLL_S)
                for run in [run for run, process in running.items() if process.poll() is not None]:
                    _check(run, running.pop(run).returncode)
                    done += 1
                    left_s = (time.monotonic() - started) / done * (total - done)
                    say(f"[{done}/{total}] {run.name} is trained; about {left_s / 60:.0f} minutes left")
        except KeyboardInterrupt as error:
            raise Interrupted("stopped; what is trained is kept, and the same command continues the study") from error
        finally:
            _stop(running.values())


def _start(run: Run, threads: int, device: str) -> subprocess.Popen[bytes]:
    run.folder.mkdir(parents=True, exist_ok=True)
    resume = ["--resume"] if has_state(run.folder) else []
    command = [sys.executable, "-m", "repsr_train", *run.arguments, "--out", str(run.folder)]
    command += ["--threads", str(threads), "--device", device, *resume]
    with run.log.open("ab") as log:
        # a session of its own: Ctrl-C reaches it through `_stop`, once
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _check(run: Run, code: int) -> None:
    if code == 0:
        return
    lines = run.log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    raise RepsrError(f"run {run.name} ended with code {code}: {last} (all it printed: {run.log})")


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask processes to save and end, and wait for them."""
    asked = list(processes)
    for process in asked:
        process.send_signal(signal.SIGINT)
    for process in asked:
        process.wait()


@contextmanager
def _signals_as_keyboard_interrupt() -> Generator[None]:
    """SIGTERM, too, ends the runs in an orderly way instead of leaving them alone."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
