"""`repsr-upscale --ray ADDRESS`: the same job, on a cluster."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import closing
from functools import partial
from pathlib import Path

from repsr_deploy.cli.upscale_files import (
    Plan,
    batch_options,
    checked_files,
    conclude,
    new_report,
    progress_bar,
    reported,
    say,
    without_results,
)
from repsr_deploy.cli.upscale_request import ModelChoice, Request
from repsr_deploy.cluster.order import ModelFile, Order
from repsr_deploy.cluster.run import carried_out, check_reachable
from repsr_deploy.cluster.url import Url, find_urls, place
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.batch import BatchOptions
from repsr_deploy.imaging.folders import (
    Found,
    check_distinct,
    check_writable,
    find_images,
    is_folder,
    plan_jobs,
)
from repsr_deploy.imaging.outcome_report import OutcomeReport
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import ON_PROCESSORS
from repsr_deploy.runtimes.source import check_file
from repsr_deploy.weights import bundled_names, find_model


def run_on_ray(request: Request) -> int:
    """Do what is asked for on a cluster: 0 when all is done, 1 when a file failed.

    Raises:
        UsageError, RepsrError: nothing can be begun, or the cluster is lost.
    """
    check_reachable(request.ray)
    plan = _plan(request)
    report = new_report(request, plan)
    with reported(report, request.report):
        if plan.jobs:
            _upscale(request, plan, report)
    return conclude(plan, [*report.outcomes.values()])


def _upscale(request: Request, plan: Plan, report: OutcomeReport) -> None:
    order = Order(
        address=request.ray,
        jobs=plan.jobs,
        prepare=partial(_prepared, request),
        model=_model_file(request.model),
        threads=request.model.threads or 1,
        workers=request.workers.process if request.workers else None,
        uses_gpu=request.model.runtime not in ON_PROCESSORS,
        log_level=logging.INFO if request.verbose else logging.WARNING,
    )
    with progress_bar(len(plan.jobs)) as (bar, task), closing(carried_out(order)) as answers:
        for answer in answers:
            for logger, level, message in answer.records:
                logging.getLogger(logger).log(level, "%s", message)
            report.outcomes[answer.outcome.job] = answer.outcome
            if answer.opened is not None:
                report.model, report.runtime = answer.opened.model, answer.opened.runtime
                report.precision = answer.opened.precision
            bar.advance(task)
            if request.verbose:
                say(bar.console, answer.outcome)


def _prepared(request: Request, model: Path | None) -> tuple[Upscaler, BatchOptions]:
    """What a worker needs for every picture: runs there, with one thread for each core that it has."""
    choice = dataclasses.replace(request.model, threads=request.model.threads or 1)
    if model is not None:
        choice = dataclasses.replace(choice, name=str(model))
    upscaler = choice.open(request.enlargement.factor)
    return upscaler, batch_options(request, upscaler.info.name)


def _model_file(choice: ModelChoice) -> ModelFile | None:
    """The model, where it is a file of this machine."""
    if not choice.name or choice.name in bundled_names():
        return None
    path = find_model(choice.name)
    check_file(path)
    if path.suffix != ".onnx":
        raise UsageError(f"model is {path}; expected a bundled name or an .onnx file, which any worker can open")
    return ModelFile(name=path.name, content=path.read_bytes())


def _plan(request: Request) -> Plan:
    target = place(request.output)
    found = _found(request, target)
    folder = is_folder(f"{target}{'/' * request.output.endswith('/')}", several=found.several)
    jobs = plan_jobs(found.files, target, into_folder=folder, extension=request.extension, suffix=request.suffix)
    videos = [job.source for job in jobs if job.video]
    if videos:
        raise UsageError(f"{videos[0]} is a video; a cluster takes pictures alone, so leave --ray away for videos")
    jobs = without_results(request, jobs)
    written = checked_files(request, jobs)
    if taken := {file for _, file in written if isinstance(file, Url)} & {job.source for job in jobs}:
        raise UsageError(f"{min(taken)} is an input itself; choose another output, or use --suffix")
    check_distinct(written)
    check_writable([job for job in jobs if not isinstance(job.target, Url)])
    return Plan(found, jobs, target)


def _found(request: Request, target: Path) -> Found:
    """Files here and elsewhere."""
    inputs = [place(name) for name in request.inputs]
    urls = [path for path in inputs if isinstance(path, Url)]
    paths = [path for path in inputs if not isinstance(path, Url)]
    here = find_images(paths, recursive=request.recursive, videos=True, without=target)
    there = find_urls(urls, recursive=request.recursive)
    return Found(
        files=[*here.files, *there.files],
        skipped=here.skipped + there.skipped,
        several=len(inputs) > 1 or here.several or there.several,
        unreadable=here.unreadable,
    )
