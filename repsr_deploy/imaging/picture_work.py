"""What the stages do to one picture on its way from file to file."""

from __future__ import annotations

import dataclasses
import logging
import math
import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.animation import is_animated, upscale_animation
from repsr_deploy.imaging.container import Container
from repsr_deploy.imaging.enlargement import enlarge, result_size
from repsr_deploy.imaging.folders import Job, nearest_folder
from repsr_deploy.imaging.image_bytes import read_header
from repsr_deploy.imaging.image_file import read_picture, write_picture
from repsr_deploy.imaging.outcome import BatchOptions, Outcome, WidthHeight
from repsr_deploy.imaging.picture import Picture
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.strips import check_strips, is_large, upscale_strips
from repsr_deploy.imaging.upscaler import Progress, Upscaler

log = logging.getLogger(__name__)

STRIPS_BYTES = 2**30
"""What a picture in strips takes, or at most an animation."""
LARGEST_READ_BYTES = 2**28
"""Larger files are mapped to look at them."""
FLOAT_BYTES = 4
Whole = Callable[[Progress], tuple[WidthHeight, WidthHeight]]
"""Upscales a file of its own kind; gives the sizes read and written."""


def is_whole(path: Path) -> bool:
    """Whether a picture's file is there and complete: its container reaches its end."""
    try:
        _header(path)
    except (ImageFileError, OSError):
        return False
    return True


@dataclass
class Task:
    """One job on its way."""

    job: Job
    weight: int = 0
    """Bytes that it takes at most."""
    whole: Whole | None = None
    """What does all of it in one go; None for a picture that fits memory."""
    picture: Picture | None = None
    before: Picture | None = None
    """What `picture` was, where that is still asked for."""
    error: RepsrError | None = None
    skipped: bool = False
    size: WidthHeight = (0, 0)
    new_size: WidthHeight = (0, 0)
    stages_s: dict[str, float] = field(default_factory=dict[str, float])


class _GivenUpError(Exception):
    """Ends a picture of a pipeline that stops."""


class PictureWork:
    """What the stages do to a task."""

    def __init__(
        self,
        upscaler: Upscaler,
        options: BatchOptions,
        progress: Callable[[float], None] | None,
        ended: Callable[[Outcome], None] | None,
        stopped: threading.Event,
    ) -> None:
        self._upscaler, self._options, self._ended, self._stopped = upscaler, options, ended, stopped
        self._progress = _Progress(progress)

    def step(self, name: str, work: Callable[[Task], None]) -> Callable[[Task], Task]:
        """The work on tasks that have not failed and are not done, with their time, and failures as such."""

        def step(task: Task) -> Task:
            if task.error is not None or task.skipped:
                return task
            start = time.perf_counter()
            try:
                work(task)
            except RepsrError as error:
                task.error = error
            except MemoryError:
                task.error = RepsrError(f"no memory to upscale {task.job.source}; choose a smaller factor or image")
            except OSError as error:
                task.error = ImageFileError(
                    f"cannot read {task.job.source}: {error.strerror or error}; expected a readable file"
                )
            task.stages_s[name] = time.perf_counter() - start
            if task.error is not None:
                task.picture = task.before = None
                _forget_frames(task.error)
            return task

        return step

    def last_step(self, name: str, work: Callable[[Task], None]) -> Callable[[Task], Outcome]:
        step = self.step(name, work)

        def last(task: Task) -> Outcome:
            step(task)
            outcome = Outcome(
                job=task.job, error=task.error, size=task.size, new_size=task.new_size,
                seconds=sum(task.stages_s.values()), skipped=task.skipped, stages_s=task.stages_s,
            )  # fmt: skip
            if self._ended is not None:
                self._ended(outcome)
            self._progress.ended(task.job)
            return outcome

        return last

    def look(self, task: Task) -> None:
        job = task.job
        _check_name(job.target)
        if self._options.skip_existing and is_whole(job.target):
            task.skipped = True
            return
        if not job.source.is_file():
            return  # a pipe could be opened, and nothing would ever come of it
        try:
            task.whole = self._animation(job) or self._strips(job)
            task.weight = STRIPS_BYTES if task.whole is not None else self._weight(_header(job.source))
        except (ImageFileError, OSError):
            return  # reading it will fail, too, and say why

    def _weight(self, container: Container) -> int:
        enlargement, size = self._options.enlargement, container.seen_size
        new_size = result_size(size, enlargement, self._upscaler.info.scale)
        is_float = enlargement.tta or enlargement.depth == "16"
        sample_bytes = FLOAT_BYTES if is_float else container.sample_bytes
        # what was read, the result, and what its encoder makes of it
        return container.channels * sample_bytes * (math.prod(size) + 2 * math.prod(new_size))

    def _animation(self, job: Job) -> Whole | None:
        if not is_animated(job.source):
            return None
        options = self._options

        def work(progress: Progress) -> tuple[WidthHeight, WidthHeight]:
            done = upscale_animation(
                job.source, job.target, self._upscaler, options.enlargement, quality=options.quality,
                max_pixels=options.max_pixels, progress=progress,
            )  # fmt: skip
            return done.size, done.new_size

        return work

    def _strips(self, job: Job) -> Whole | None:
        if not is_large(job.source):
            return None
        options = self._options
        try:
            check_strips(job.target, self._upscaler, options.enlargement)
        except UsageError:
            if options.max_pixels is None or math.prod(_header(job.source).seen_size) <= options.max_pixels:
                return None
            raise

        def work(progress: Progress) -> tuple[WidthHeight, WidthHeight]:
            done = upscale_strips(job.source, job.target, self._upscaler, progress=progress, restart=options.restart)
            return done.size, done.new_size

        return work

    def load(self, task: Task) -> None:
        if task.whole is not None:
            return
        task.picture = read_picture(task.job.source, max_pixels=self._options.max_pixels)
        task.size = _size(task.picture.image_hwc)

    def process(self, task: Task) -> None:

        def report(done: int, total: int) -> None:
            if self._stopped.is_set():
                raise _GivenUpError
            self._progress.at(task.job, done / total)

        if task.whole is not None:
            task.size, task.new_size = task.whole(report)
            if self._options.written is not None:
                log.warning("%s: no comparison is made of animations and pictures in strips", task.job.source)
            return
        picture = task.picture
        assert picture is not None
        image = enlarge(self._upscaler, picture.image_hwc, self._options.enlargement, progress=report)
        task.new_size = _size(image)
        task.picture = dataclasses.replace(picture, image_hwc=image)
        if self._options.written is not None:
            task.before = picture

    def save(self, task: Task) -> None:
        picture, before = task.picture, task.before
        if picture is None:
            return  # its file is written
        task.picture = task.before = None
        write_picture(task.job.target, picture, quality=self._options.quality)
        if before is not None and self._options.written is not None:
            self._options.written(task.job, before, picture)


class _Progress:
    """Adds up the pictures that have ended and the fractions of those under way."""

    def __init__(self, report: Callable[[float], None] | None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._ended = 0
        self._under_way: dict[Job, float] = {}

    def at(self, job: Job, fraction: float) -> None:
        with self._lock:
            self._under_way[job] = fraction
            self._tell()

    def ended(self, job: Job) -> None:
        with self._lock:
            self._under_way.pop(job, None)
            self._ended += 1
            self._tell()

    def _tell(self) -> None:
        if self._report is not None:
            self._report(self._ended + sum(self._under_way.values()))


def _header(path: Path) -> Container:
    """What a file says. Read where memory allows: a disk that fails under a mapping ends the process."""
    with path.open("rb") as file:
        is_small = os.fstat(file.fileno()).st_size <= LARGEST_READ_BYTES
        data = file.read() if is_small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_header(data, name=str(path))


def _check_name(target: Path) -> None:
    """Refuse a name that the file system does not take before there is a result for it."""
    try:
        (nearest_folder(target) / target.name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise RepsrError(f"cannot write {target}: {error.strerror}; choose another name or place") from error


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _forget_frames(error: BaseException) -> None:
    """Outcomes are kept until the end; the frames of their errors hold pictures."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
