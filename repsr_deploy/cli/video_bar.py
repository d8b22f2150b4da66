"""How far a video is, on a terminal."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from repsr_deploy.cli.printable import printable
from repsr_deploy.video.problems import clock
from repsr_deploy.video.progress import Progress as VideoReport
from repsr_deploy.video.progress import VideoProgress

LONGEST_NAME = 40


@contextmanager
def video_bar(name: str) -> Generator[VideoReport]:
    """A bar on stderr, where that is a terminal; gone in the end."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}", markup=False)
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(printable(short)), total=None, words="")

        def report(now: VideoProgress) -> None:
            # an estimate may be too low
            total = None if now.total is None else max(now.total, now.frames)
            bar.update(task, total=total, completed=now.frames, words=words_of(now))

        yield report


def words_of(now: VideoProgress) -> str:
    """Frames, their rate, the time left and what limits, in one line."""
    frames = f"{now.frames} frames" if now.total is None else f"{now.frames}/{now.total} frames"
    parts = [frames]
    if now.new_frames:
        parts.append(f"{now.rate:.3g} fps")
        if now.remaining_s is not None:
            parts.append(f"{clock(now.remaining_s).partition('.')[0]} left")
        parts.append(f"limited by: {now.limiting}")
    return ", ".join(parts)
