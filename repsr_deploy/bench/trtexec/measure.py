"""Build an engine of a model and time it."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from repsr_deploy.bench.timing import Timing
from repsr_deploy.bench.trtexec import command as flags
from repsr_deploy.bench.trtexec.exports import Times, read_layers, read_times
from repsr_deploy.bench.trtexec.failure import why_failed
from repsr_deploy.bench.trtexec.log import Log, parse_log
from repsr_deploy.bench.trtexec.options import TrtexecOptions
from repsr_deploy.bench.trtexec.process import run_program
from repsr_deploy.bench.trtexec.program import Program, find_program
from repsr_deploy.bench.trtexec.result import TrtexecResult
from repsr_deploy.bench.trtexec.shapes import read_input, read_profile
from repsr_deploy.errors import RepsrError
from repsr_deploy.files import write_bytes

PRINTED = 1e-3
"""Relative difference between a statistic of the exported times and the printed one: both are rounded to 6 digits."""


def measure(
    model: Path,
    options: TrtexecOptions,
    *,
    program: Program | None = None,
    on_line: Callable[[str], None] | None = None,
) -> TrtexecResult:
    """Build an engine of `model` and time it, in a folder that is removed afterwards.

    Where both say something, the exported time of every query counts, and what the log prints must agree with it.

    Args:
        model: an .onnx file with one input; the types in it decide what the engine computes in.
        program: None to look for one (`find_program`).
        on_line: called with each line that the program prints, while it runs.

    Raises:
        RuntimeUnavailableError: no program, no GPU, no driver for it, or a library is missing.
        ModelFileError: not a model, or one that TensorRT cannot read.
        UsageError: shapes that do not fit the model, or an option that this version of the program does not have.
        RepsrError: the program failed, took too long, did not do what was asked, or left a number out.
    """
    program = program or find_program()
    source = read_input(model)
    profile = read_profile(source, options.shapes, options.timed)
    command = flags.build_command(program, model, options, source.name, profile)
    with tempfile.TemporaryDirectory(prefix="repsr-trtexec-") as name:
        folder = Path(name)
        if options.timing_cache is not None and options.timing_cache.exists():
            shutil.copyfile(options.timing_cache, folder / flags.TIMING_CACHE)
        finished = run_program(
            command.arguments, folder=folder, on_line=on_line or (lambda _: None), timeout_s=options.timeout_s
        )
        failure = why_failed(program.path, finished)
        if failure is not None:
            raise failure
        _keep(folder / flags.ENGINE, options.engine, required=True)
        _keep(folder / flags.TIMING_CACHE, options.timing_cache, required=False)
        log = parse_log(finished.lines)
        times = read_times(folder / flags.TIMES)
        layers = read_layers(folder / flags.PROFILE, folder / flags.LAYERS) if options.layers else ()
    _check(times, log)
    settings = dict(command.settings)
    if not program.rtx:
        _check_echo(log, options)
    if log.graph_failed and options.use_cuda_graph:
        settings["CUDA graph"] = "off (this engine cannot be captured as one)"
    copied = options.data_transfers
    return TrtexecResult(
        program=program.name,
        gpu=log.gpu,
        compute_capability=log.compute_capability,
        shape=profile.timed if profile is not None else tuple(side for side in source.sides if side is not None),
        gpu_time=Timing(times.gpu),
        latency=Timing(times.latency) if copied else None,
        to_device=Timing(times.to_device) if copied else None,
        from_device=Timing(times.from_device) if copied else None,
        enqueue=log.enqueue,
        throughput_qps=log.throughput_qps,
        build_s=log.build_s,
        engine_mib=log.engine_mib,
        layers=layers,
        arguments=command.arguments,
        settings=settings,
        warnings=log.warnings,
    )


def _keep(written: Path, target: Path | None, *, required: bool) -> None:
    """Move a file of the working folder to where the user wants it, whole."""
    if target is None:
        return
    if written.exists():
        write_bytes(target, written.read_bytes())
    elif required:
        raise RepsrError(f"the program passed but wrote no engine; expected one for {target}")


def _check(times: Times, log: Log) -> None:
    """The file and the log must be of the same run. Not the mean: the program adds it up in float32."""
    for metric, exported, printed in (
        ("GPU Compute Time", times.gpu, log.gpu_compute), ("Latency", times.latency, log.latency)
    ):  # fmt: skip
        for name, value, said in (
            ("min", min(exported), printed.min_s),
            ("median", Timing(exported).median_s, printed.median_s),
            ("max", max(exported), printed.max_s),
        ):
            if not math.isclose(value, said, rel_tol=PRINTED, abs_tol=1e-9):
                raise RepsrError(
                    f"the exported times give {value * 1e3:.6g} ms for {name} of {metric}, and the log "
                    f"{said * 1e3:.6g} ms; expected the same, from the same run"
                )


def _check_echo(log: Log, options: TrtexecOptions) -> None:
    """The program must have understood its flags as they were meant."""
    for switch in flags.SWITCHES:
        wanted = getattr(options, switch.option)
        if switch.echo is not None and log.echo.get(switch.echo) is not wanted:
            raise RepsrError(
                f"asked for {switch.option} {'on' if wanted else 'off'}, but the log does not say `{switch.echo}: "
                f"{'Enabled' if wanted else 'Disabled'}`; this version understands its flags in another way"
            )
