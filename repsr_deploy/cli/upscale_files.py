"""`repsr-upscale` for files and folders on this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from repsr_deploy.cli.errors import print_error
from repsr_deploy.cli.printable import printable
from repsr_deploy.cli.upscale_request import NAME, Request
from repsr_deploy.imaging.batch import BatchOptions, Outcome, Written, picture_pipeline
from repsr_deploy.imaging.folders import (
    Found,
    Job,
    check_distinct,
    check_inputs_survive,
    check_writable,
    earlier_results,
    find_images,
    is_folder,
    plan_jobs,
)
from repsr_deploy.imaging.outcome_report import OutcomeReport
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.upscaler import Upscaler


def run_files(request: Request) -> int:
    """Do what is asked for: 0 when all is done, 1 when a file failed.

    Raises:
        UsageError, RepsrError: nothing can be begun.
    """
    plan = _plan(request)
    pictures = [job for job in plan.jobs if not job.video]
    videos = [job for job in plan.jobs if job.video]
    if videos:
        from repsr_deploy.cli.upscale_video import check_video_request

        check_video_request(request)
    upscaler = request.model.open(request.enlargement.factor) if pictures else None
    report = new_report(request, plan)
    with reported(report, request.report):
        if upscaler is not None:
            _upscale_pictures(request, upscaler, pictures, report)
            upscaler = None  # videos have their own, and the memory
        if videos:
            _upscale_videos(request, videos, report)
        return conclude(plan, [report.outcomes[job] for job in plan.jobs])


def new_report(request: Request, plan: Plan) -> OutcomeReport:
    """The report of a run, before its first file."""
    return OutcomeReport(
        command=NAME,
        options=dataclasses.asdict(request),
        jobs=plan.jobs,
        errors=[str(error) for error in plan.found.unreadable],
    )


def conclude(plan: Plan, outcomes: Sequence[Outcome]) -> int:
    """Say what became of all files; the exit code."""
    failures = [*plan.found.unreadable, *(outcome.error for outcome in outcomes if outcome.error is not None)]
    for failure in failures:
        print_error(NAME, printable(str(failure)))
    summarise(plan, outcomes)
    return 1 if failures else 0


@dataclass(frozen=True)
class Plan:
    """What is to be done, before anything is."""

    found: Found
    jobs: list[Job]
    place: Path
    """The file or folder that the results are, or go to."""


def _plan(request: Request) -> Plan:
    inputs = [Path(name) for name in request.inputs]
    place = Path(request.output)
    found = find_images(inputs, recursive=request.recursive, videos=True, without=place)
    folder = is_folder(request.output, several=found.several)
    jobs = plan_jobs(found.files, place, into_folder=folder, extension=request.extension, suffix=request.suffix)
    jobs = without_results(request, jobs)
    check_distinct(checked_files(request, jobs))
    check_writable(jobs)
    return Plan(found, jobs, place)


def without_results(request: Request, jobs: list[Job]) -> list[Job]:
    """The jobs whose sources are not results of an earlier run that is gone on with."""
    if not request.skip_existing:
        return jobs
    results = earlier_results(jobs, request.suffix, lambda target: written_files(request, target))
    return [job for job in jobs if job.source not in results]


def checked_files(request: Request, jobs: Sequence[Job]) -> list[tuple[Path, Path]]:
    """Everything that will be written, each with what it comes from; none is an input.

    Raises:
        UsageError: one is.
    """
    written = [(job.source, file) for job in jobs for file in written_files(request, job.target)]
    if request.report is not None:
        written.append((request.report, request.report))
    check_inputs_survive(jobs, [file for _, file in written])
    return written


def written_files(request: Request, target: Path) -> list[Path]:
    """All that is written for a target."""
    if not request.compare:
        return [target]
    from repsr_deploy.compare.comparison import comparison_files

    return [target, *comparison_files(target)]


@contextmanager
def reported(report: OutcomeReport, path: Path | None) -> Generator[None]:
    """Write the report before the work, which shows that it can be written, and after it, however it ends."""
    if path is None:
        yield
        return
    report.write(path, ended=False)
    try:
        yield
    finally:
        report.write(path)


def _upscale_pictures(request: Request, upscaler: Upscaler, jobs: Sequence[Job], report: OutcomeReport) -> None:
    report.model, report.runtime = upscaler.info.name, upscaler.runtime.name
    report.precision = upscaler.runtime.precision
    options = batch_options(request, upscaler.info.name)
    with progress_bar(len(jobs)) as (bar, task):
        pipeline = picture_pipeline(
            upscaler, jobs, options, progress=lambda done: bar.update(task, completed=done), ended=report.add
        )
        try:
            with pipeline:
                for outcome in pipeline:
                    bar.update(task, description=f"upscaling ({pipeline.limiting} limits)")
                    if request.verbose:
                        say(bar.console, outcome)
        finally:
            report.stages, report.limiting = pipeline.use, pipeline.limiting


def batch_options(request: Request, model: str) -> BatchOptions:
    """What is asked for of every picture; `model` is the name that comparisons give."""
    return BatchOptions(
        enlargement=request.enlargement,
        quality=request.quality,
        max_pixels=request.max_pixels,
        skip_existing=request.skip_existing,
        restart=request.video.restart,
        workers=request.workers,
        written=_comparing(model) if request.compare else None,
    )


def _upscale_videos(request: Request, jobs: Sequence[Job], report: OutcomeReport) -> None:
    from repsr_deploy.cli.upscale_video import upscale_videos

    for outcome in upscale_videos(request, jobs):
        report.add(outcome)


def _comparing(model: str) -> Written:
    from repsr_deploy.compare.comparison import write_comparison

    def written(job: Job, before: Picture, after: Picture) -> None:
        write_comparison(
            before.image_hwc, after.image_hwc, job.target, title=job.source.name, model=model,
            icc_profile=after.icc_profile,
        )  # fmt: skip

    return written


@contextmanager
def progress_bar(total: int) -> Generator[tuple[Progress, TaskID]]:
    """A bar on stderr that is gone in the end, where that is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task("upscaling", total=total)


def say(console: Console, outcome: Outcome) -> None:
    """Say in one line how a job ended well."""
    if outcome.error is not None:
        return  # it is said at the end
    (width, height), (new_width, new_height) = outcome.size, outcome.new_size
    source, target = printable(str(outcome.job.source)), printable(str(outcome.job.target))
    if outcome.skipped:
        text = f"{source}: {target} is there and whole"
    else:
        text = f"{source} {width}x{height} -> {target} {new_width}x{new_height} in {outcome.seconds:.2f} s"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def summarise(plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Say in one line what has been done."""
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in ("done", "skipped", "failed")}
    there = [f"{counts['skipped']} already there"] * bool(counts["skipped"])
    others = [f"{plan.found.skipped} other files skipped"] * bool(plan.found.skipped)
    if len(plan.jobs) > 1:
        notes = [*there, *[f"{counts['failed']} failed"] * bool(counts["failed"]), *others]
        text = f"{counts['done']} of {len(plan.jobs)} {_noun(plan.jobs)} written to {plan.place}"
    elif counts["done"]:
        notes, text = others, f"written {plan.jobs[0].target}"
    elif counts["skipped"]:
        notes, text = others, f"{plan.jobs[0].target} is there and whole"
    else:
        return
    typer.echo(printable(", ".join([text, *notes])))


def _noun(jobs: Sequence[Job]) -> str:
    kinds = {job.video for job in jobs}
    return "files" if len(kinds) == 2 else "videos" if True in kinds else "images"
