"""`repsr-train prepare`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from repsr_deploy.errors import UsageError
from repsr_train.data import prepare as work
from repsr_train.data.photograph import MAX_REDUCTION, Reduction

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def prepare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders with photographs, searched recursively.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the store, new or to be continued.")],
    scale: Annotated[
        list[int] | None,
        typer.Option(
            help="Scale to make LR images for; may be repeated. Others are made when needed.", show_default="2, 4"
        ),
    ] = None,
    reduction: Annotated[
        str, typer.Option(help="Reduce JPEG files by 1 to 8, which removes their traces; auto: large ones by 2 to 4.")
    ] = "auto",
    min_side: Annotated[int, typer.Option(help="Least side of a photograph in pixels, once reduced.")] = work.MIN_SIDE,
    licence: Annotated[
        list[str] | None, typer.Option(help="Licence of the photographs: once for all DIRs, or once for each in order.")
    ] = None,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep copies of a photograph in another size or quality.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="one per core")] = None,
) -> None:
    """Make a store of photographs, which training maps into memory instead of decoding every file.

    Reads PNG, JPEG and WebP, gray or colour, 8 or 16 bits. Broken and tiny files are left out and listed, and so are
    copies of a photograph. LR images are made as MATLAB's imresize does. Ctrl-C, or a kill, loses nothing: the same
    command continues. Run on a finished store, it checks every byte.

    Example: repsr-train prepare photos/mine photos/cc0 --out store --licence "all rights reserved" --licence "CC0 1.0"
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done - 1)
            bar.update(tasks[what], completed=done)

        manifest = work.prepare(
            folders,
            out,
            scales=(2, 4) if scale is None else scale,
            reduction=_reduction(reduction),
            min_side=min_side,
            licences=licence or (),
            near_duplicates=not keep_duplicates,
            workers=workers,
            progress=progress,
            report=lambda line: bar.console.print(line, markup=False),
        )
    pixels = sum(image.height * image.width for image in manifest.images)
    size = 3 * pixels + sum(file.bytes for file in manifest.lr.values())
    console.print(
        f"{out}: {len(manifest.images)} photographs, {pixels / 1e6:.1f} megapixels, {size / 1e9:.2f} GB; "
        f"{len(manifest.rejected)} files rejected, {len(manifest.duplicates)} copies dropped; train with --data {out}",
        markup=False,
    )


def _reduction(text: str) -> Reduction:
    if text == "auto":
        return text
    if not text.isdecimal():
        raise UsageError(f"reduction is {text!r}; expected auto or 1 to {MAX_REDUCTION}")
    return int(text)
