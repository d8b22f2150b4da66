"""A whole study: train what is missing, measure everything, write JSON, Markdown and pictures."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from repsr_deploy._version import __version__
from repsr_deploy.bench.machine import describe_machine
from repsr_deploy.errors import UsageError
from repsr_deploy.files import write_text
from repsr_train.study.catalogue import Study
from repsr_train.study.picture import draw_artifacts
from repsr_train.study.plot import draw_study
from repsr_train.study.report import markdown
from repsr_train.study.results import StudyResult, measure_run
from repsr_train.study.runs import Run, Say, plan_runs, train_all
from repsr_train.study.scores import Conditions, bicubic, read_conditions, score


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to study, on which photographs, and where the results go.

    Raises:
        UsageError: impossible values.
    """

    study: Study
    data: Sequence[Path]
    """Folders of photographs and prepared stores to train on."""
    tests: Mapping[str, Path]
    """Name of a test set -> folder of its reference pictures."""
    out: Path
    validation: Sequence[Path] = ()
    steps: int
    seeds: tuple[int, ...] = (0, 1, 2)
    settings: tuple[str, ...] = ()
    """Changes to the recipes of all variants, as --set takes them."""
    jobs: int = 1
    """Runs at a time."""
    threads: int = 1
    """Of each run."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.data or not self.tests:
            raise UsageError("a study needs photographs to train on and to test on; give --data and --test")
        if self.steps < 1 or not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(
                f"steps is {self.steps}, seeds {self.seeds}; expected at least one step, and seeds that are different "
                "whole numbers, 0 or more"
            )

    @property
    def command(self) -> str:
        """The command line that asks for this, paths as they were given."""
        words = ["repsr-train", "study", self.study.name]
        words += [word for path in self.data for word in ("--data", str(path))]
        words += [word for path in self.validation for word in ("--val", str(path))]
        words += [word for name, path in self.tests.items() for word in ("--test", f"{path}={name}")]
        words += ["--out", str(self.out), "--steps", str(self.steps), "--seeds", ",".join(map(str, self.seeds))]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--jobs", str(self.jobs), "--threads", str(self.threads), "--device", self.device]
        return shlex.join(words)


def run_study(request: Request, say: Say) -> StudyResult:
    """Train, measure and write NAME.json, NAME.md, NAME.png and, where the study has one, NAME-artifacts.png.

    Raises:
        UsageError: `out` holds another study, or a folder has no pictures.
        Interrupted: by Ctrl-C; the same request continues.
        RepsrError: a run failed, or a file cannot be read or written.
    """
    study = request.study
    conditions = read_conditions(request.tests, study.scale, degradations=study.degraded)
    runs = plan_runs(
        study,
        data=request.data,
        validation=request.validation,
        out=request.out,
        steps=request.steps,
        seeds=request.seeds,
        settings=request.settings,
    )
    train_all(runs, jobs=request.jobs, threads=request.threads, device=request.device, say=say)
    torch.set_num_threads(request.threads)
    say(f"measuring {len(runs)} networks on {', '.join(conditions)}")
    result = _measured(request, runs, conditions)
    write_text(request.out / f"{study.name}.json", result.to_json())
    figures = [f"{study.name}.png"]
    draw_study(request.out / figures[0], result)
    if study.picture is not None and draw_artifacts(
        request.out / f"{study.name}-artifacts.png", study, runs, conditions
    ):
        figures.append(f"{study.name}-artifacts.png")
    write_text(request.out / f"{study.name}.md", markdown(result, figures))
    return result


def _measured(request: Request, runs: Sequence[Run], conditions: Conditions) -> StudyResult:
    enlarge = bicubic(request.study.scale)
    measured = tuple(measure_run(run, request.study.weights, conditions) for run in runs)
    if len(fingerprints := {run.photographs for run in measured}) > 1:
        raise UsageError(
            f"the photographs changed between the runs in {request.out} (fingerprints {', '.join(fingerprints)}); "
            "start again with another --out"
        )
    return StudyResult(
        study=request.study,
        command=request.command,
        machine=describe_machine(request.threads),
        versions={
            "repsr-deploy": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "opencv-python-headless")},
        },
        steps=request.steps,
        seeds=request.seeds,
        settings=dict(text.split("=", 1) for text in (*request.study.settings, *request.settings)),
        pictures={condition: len(pictures) for condition, pictures in conditions.items()},
        bicubic={condition: score(enlarge, pictures) for condition, pictures in conditions.items()},
        runs=measured,
    )
