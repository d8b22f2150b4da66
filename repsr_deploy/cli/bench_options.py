"""What the commands of `repsr-bench` take: common options, and lists written with commas."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from repsr_deploy.errors import UsageError

NAME = "repsr-bench"
SHAPES = "640x360,1280x720,1920x1080"
CORES = os.cpu_count() or 1

Threads = Annotated[int, typer.Option(min=1, help="Processor threads.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write every time and number to this file.")]
MarkdownFile = Annotated[Path | None, typer.Option("--markdown", help="Also write the table to this file.")]


def names(text: str) -> tuple[str, ...]:
    """What stands between commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def shapes_of(text: str) -> tuple[tuple[int, int], ...]:
    """(H, W) of each `WIDTHxHEIGHT`.

    Raises:
        UsageError: one is written in another way.
    """
    return tuple(_shape(name) for name in names(text))


def _shape(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if found is None:
        raise UsageError(f"--shapes has {text!r}; expected WIDTHxHEIGHT in pixels, as in {SHAPES}")
    return int(found[2]), int(found[1])


def counts(text: str) -> tuple[int, ...]:
    """Numbers of images.

    Raises:
        UsageError: one is no whole number.
    """
    for name in names(text):
        if not name.isdecimal():
            raise UsageError(f"--batch has {name!r}; expected numbers of images, as in 1,4")
    return tuple(map(int, names(text)))


def pictures(folder: Path | None) -> tuple[Path, ...]:
    """The pictures in a folder; none where there is no folder.

    Raises:
        UsageError: it is no folder.
        ImageFileError: it holds no picture.
    """
    from repsr_deploy.imaging.folders import find_images

    if folder is None:
        return ()
    if not folder.is_dir():
        raise UsageError(f"--hr {folder} is no folder; expected one with high-resolution pictures")
    return tuple(find_images([folder]).images)


def check_outputs(*outputs: tuple[Path | None, str]) -> None:
    """Refuse names of files before minutes of measurement, not after.

    Args:
        outputs: a file, or None, and the suffix that it must have.

    Raises:
        UsageError: a file has another.
    """
    for path, suffix in outputs:
        if path is not None and path.suffix.lower() != suffix:
            raise UsageError(f"output is {path}; expected a name that ends in {suffix}")


def command_line() -> str:
    """As it was typed, for the report."""
    return shlex.join([NAME, *sys.argv[1:]])
