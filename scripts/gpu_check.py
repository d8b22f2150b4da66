"""All that wants an NVIDIA GPU, one step after the other, with a summary: what `scripts/gpu_check` runs.

    python -m scripts.gpu_check [OUT [STEP...]]

The output of a step is OUT/STEP.log; OUT/summary.md and OUT/summary.json say what came out, written after every step.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from repsr_deploy.bench.kernels.targets import SIMULATED
from repsr_deploy.bench.machine import describe_machine, gpu_clocks, hardware
from repsr_deploy.bench.report import utc_now
from repsr_deploy.bench.trtexec import find_program
from repsr_deploy.errors import RepsrError
from repsr_deploy.files import write_text
from repsr_deploy.runtimes import BACKENDS, ON_PROCESSORS, unavailable
from repsr_kernels.gpu.driver import Device, find_device, load_driver, why_no_device
from scripts.gpu_check_results import (
    SANITIZER_ERROR,
    Judge,
    Status,
    judge_report,
    judge_sanitizer,
    judge_status,
    judge_tests,
)

NO_GPU = 2
"""Exit status."""
STEP_LIMIT_S = 3600
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
STEPS = ("tests", *SANITIZERS, "kernels", "throughput", "trtexec")
BENCH = "import sys; from repsr_deploy.cli.bench import main; sys.exit(main())"
ARCHIVES = (".gz", ".whl")
TOOLKIT = "/usr/local/cuda/bin"
"""Where CUDA's programs usually are; looked at behind PATH."""
SMALL = ("--shapes", "48x32", "--scales", "2", "--seconds", "0.01")
"""Pictures for a simulated GPU, which is slow and whose times mean nothing."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command that is to end well."""

    name: str
    command: Sequence[str]
    said: str = ""
    """The command as a person types it; empty where that is the command itself."""
    missing: str = ""
    """Why it cannot run here; empty where it can."""
    judge: Judge = judge_status


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a step."""

    step: str
    command: str
    status: Status
    exit_status: int | None = None
    seconds: float = 0.0
    details: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What steps need: where it is, or an empty text."""

    pycuda: str = ""
    sanitizer: str = ""
    runtimes: str = ""
    """For GPUs, comma between."""
    trtexec: str = ""

    @classmethod
    def find(cls) -> Tools:
        """Look for everything."""
        missing = unavailable()
        try:
            trtexec = str(find_program().path)
        except RepsrError:
            trtexec = ""
        return cls(
            pycuda="pycuda" if importlib.util.find_spec("pycuda") else "",
            sanitizer=shutil.which("compute-sanitizer") or "",
            runtimes=",".join(name for name in BACKENDS if name not in (*missing, *ON_PROCESSORS)),
            trtexec=trtexec,
        )


def plan(out: Path, device: Device, tools: Tools) -> list[Step]:
    """Every step, and why some cannot run."""
    steps = [_pytest("tests", out, "tests")]
    for name in SANITIZERS:
        options = ["--tool", name, "--error-exitcode", str(SANITIZER_ERROR), "--target-processes", "all"]
        step = _pytest(name, out, "tests/kernels", prefix=[tools.sanitizer or "compute-sanitizer", *options])
        judge = partial(judge_sanitizer, log=out / f"{name}.log", xml=out / f"{name}.xml")
        lacking = "" if tools.sanitizer else "no compute-sanitizer here; CUDA's toolkit has it"
        steps.append(replace(step, judge=judge, missing=lacking))
    small = SMALL if device.name.startswith(SIMULATED) else ()
    no_pycuda = "" if tools.pycuda else "PyCUDA is not installed; PYCUDA_SDIST can name a folder with it"
    no_runtime = "" if tools.runtimes else "no runtime for GPUs can be used here; `repsr-fuse runtimes` says why"
    no_program = "" if tools.trtexec else "neither trtexec nor tensorrt_rtx is here"
    models = ("photo-x2", "photo-x4", "--runtimes", tools.runtimes, "--precisions", "fp32,fp16")
    engine = ("repsr_deploy/weights/photo-x2.onnx", "--shapes", "64x64:1080x1920:1080x1920")
    return [
        *steps,
        _bench("kernels", out, "--on", "gpu", *small, missing=no_pycuda),
        _bench("throughput", out, *models, missing=no_runtime),
        _bench("trtexec", out, *engine, missing=no_program),
    ]


def _pytest(name: str, out: Path, tests: str, prefix: Sequence[str] = ()) -> Step:
    xml = out / f"{name}.xml"
    options = ["-m", "gpu", "--continue-on-collection-errors", "-p", "no:cacheprovider", f"--junitxml={xml}", tests]
    command = [*prefix, sys.executable, "-m", "pytest", *options]
    return Step(name=name, command=command, judge=partial(judge_tests, xml=xml))


def _bench(name: str, out: Path, *options: str, missing: str) -> Step:
    json_file, markdown_file = out / f"{name}.json", out / f"{name}.md"
    words = [name, *options, "--json", str(json_file), "--markdown", str(markdown_file)]
    return Step(
        name=name,
        command=[sys.executable, "-c", BENCH, *words],
        said=shlex.join(["repsr-bench", *words]),
        missing=missing,
        judge=partial(judge_report, json_file=json_file),
    )


def run_step(step: Step, out: Path) -> Outcome:
    """Run it, its output kept; one that takes longer than `STEP_LIMIT_S` is stopped."""
    said = step.said or shlex.join(step.command)
    if step.missing:
        return Outcome(step=step.name, command=said, status="skipped", details=[step.missing])
    begin = time.monotonic()
    with (out / f"{step.name}.log").open("wb") as log:
        process = subprocess.Popen(
            step.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            exit_status = process.wait(STEP_LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            exit_status = -signal.SIGKILL
    status, details = step.judge(exit_status)
    return Outcome(
        step=step.name,
        command=said,
        status=status,
        exit_status=exit_status,
        seconds=round(time.monotonic() - begin, 1),
        details=details,
    )


def install_pycuda(source: Path, target: Path) -> Step:
    """What installs an archive, an unpacked one, or all archives and wheels of a folder, without a network."""
    is_one = source.is_file() or (source / "pyproject.toml").is_file()
    files = [str(source)] if is_one else sorted(str(file) for file in source.iterdir() if file.suffix in ARCHIVES)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--target", str(target)]
    return Step(name="pycuda", command=[sys.executable, "-m", "pip", "install", *options, *files])


def describe(device: Device) -> dict[str, Any]:
    """The card and the software: plain JSON values."""
    major, minor = load_driver().version()
    return {
        "card": device.name,
        "compute_capability": device.compute_capability,
        "cuda_of_driver": f"{major}.{minor}",
        "nvcc": _nvcc(),
        "clocks": gpu_clocks(),
        "machine": describe_machine(os.cpu_count() or 1),
    }


def _nvcc() -> str | None:
    """What nvcc calls its version; None where there is none on PATH."""
    program = shutil.which("nvcc")
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    release = re.search(r"release .*", done.stdout)
    return release[0] if release else None


def summary(outcomes: Sequence[Outcome], described: Mapping[str, Any], command: str) -> tuple[str, str]:
    """What came out, as Markdown and as JSON."""
    machine = described["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    about = [
        f"{described['card']}, compute capability {described['compute_capability']}; driver for CUDA "
        f"{described['cuda_of_driver']}; nvcc {described['nvcc'] or 'not here'}",
        *(["no real GPU: everything ran on the processor, and no speed means anything"] * _simulated(described)),
        *(f"clocks (processor, memory), power, temperature before: {line}" for line in described["clocks"]),
        f"{hardware(machine)}; {machine['platform']}",
        f"repsr-deploy {machine['version']}, Python {machine['python']}, {packages}",
    ]
    lines = [f"# GPU check: {described['card']}", "", f"`{command}`", "", *(f"- {line}" for line in about), ""]
    lines += ["| step | outcome | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {one.step} | {one.status} | {one.seconds:.0f} |" for one in outcomes]
    for one in outcomes:
        lines += ["", f"## {one.step}: {one.status}", "", f"`{one.command}`", "", *(f"- {d}" for d in one.details)]
    content = {"command": command, "created": utc_now(), **described, "steps": [asdict(one) for one in outcomes]}
    return "\n".join([*lines, ""]), json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _simulated(described: Mapping[str, Any]) -> bool:
    return str(described["card"]).startswith(SIMULATED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps that are asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_check", description="All that wants an NVIDIA GPU.")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder; docs/results/gpu-CARD without")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"some of {', '.join(STEPS)}; all without")
    options = parser.parse_args(arguments)
    unknown = set(options.steps) - set(STEPS)
    if unknown:
        parser.error(f"unknown steps {', '.join(sorted(unknown))}; expected some of {', '.join(STEPS)}")
    device = find_device()
    if device is None:
        print(f"no GPU to check: {why_no_device()}; nothing was done", file=sys.stderr)  # noqa: T201
        return NO_GPU
    card = re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
    out: Path = options.out or Path("docs/results") / f"gpu-{card}"
    out.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), TOOLKIT])
    command = shlex.join(["scripts/gpu_check", *(sys.argv[1:] if arguments is None else arguments)])
    with tempfile.TemporaryDirectory(prefix="repsr-gpu-check-") as scratch:
        outcomes = run_all(out, device, Path(scratch), set(options.steps or STEPS), command)
    return 1 if any(one.status == "failed" for one in outcomes) else 0


def run_all(out: Path, device: Device, scratch: Path, wanted: set[str], command: str) -> list[Outcome]:
    """Run steps, each told as it begins and ends; the summary is written after each."""
    described = describe(device)
    outcomes: list[Outcome] = []

    def do(step: Step) -> None:
        print(f"== {step.name}: {step.said or shlex.join(step.command)}", flush=True)  # noqa: T201
        outcomes.append(run_step(step, out))
        said = [outcomes[-1].status, *(f"  {line}" for line in outcomes[-1].details)]
        print("\n".join(said), flush=True)  # noqa: T201
        markdown, content = summary(outcomes, described, command)
        write_text(out / "summary.md", markdown)
        write_text(out / "summary.json", content)

    source = os.environ.get("PYCUDA_SDIST")
    if source and not Tools.find().pycuda:
        do(install_pycuda(Path(source), scratch))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(scratch), os.environ.get("PYTHONPATH")]))
        sys.path.insert(0, str(scratch))
    for step in plan(out, device, Tools.find()):
        if step.name in wanted:
            do(step)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
