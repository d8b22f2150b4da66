"""`repsr-train analyse`: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from repsr_deploy.nets.spec import Colour

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look into trained networks: which channels matter, which degradations they tell apart.",
)

Checkpoint = Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) written by repsr-train.")]
Against = Annotated[Path | None, typer.Option(help="Second checkpoint, shown beside the first.")]
Out = Annotated[Path, typer.Option(help="Folder for the pictures and numbers.")]
Photographs = Annotated[Path, typer.Option("--hr", help="Folder of high-resolution photographs.")]


@app.command()
def saliency(
    checkpoint: Checkpoint,
    image: Annotated[Path, typer.Argument(help="Picture that goes into the network.")],
    out: Out,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer to show; repeatable.", show_default="first, last block, before the last convolution"),
    ] = None,
    against: Against = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Take IMAGE for a high-resolution photograph, and degrade it first: clean, blur, noise, ..."),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of the middle part that is used, LR pixels.", min=8)] = 96,
) -> None:
    """Show which channels make the structure of the output: channel saliency maps.

    Writes saliency.json (scores of all layers and their Gini coefficients), maps.npz (the maps of the shown layers;
    maps-against.npz for the second checkpoint), maps-LAYER.png, shares.png and concentration.png.

    Example: repsr-train analyse saliency plain.safetensors photo.png --against dropout.safetensors --kind clean --out s
    """
    from repsr_train.analysis.commands import analyse_saliency

    checkpoints = [checkpoint, *([against] if against else [])]
    _say(analyse_saliency(checkpoints, image, out, layers=layer or (), kind=kind, crop=crop))


@app.command()
def ablation(
    checkpoint: Checkpoint,
    hr: Photographs,
    out: Out,
    layer: Annotated[
        str | None, typer.Option(help="Whose channels.", show_default="before the last convolution")
    ] = None,
    against: Against = None,
    colour: Annotated[Colour, typer.Option(help="What PSNR is measured on.")] = "rgb",
    kind: Annotated[str, typer.Option(help="Degradation: clean, blur, noise, jpeg, blur+noise, ...")] = "clean",
) -> None:
    """Measure PSNR without each channel of a layer.

    Writes ablation.json and ablation.png.

    Example: repsr-train analyse ablation plain.safetensors --against dropout.safetensors --hr Set5 --out ablation
    """
    from repsr_train.analysis.commands import analyse_ablation

    checkpoints = [checkpoint, *([against] if against else [])]
    with _progress("images") as progress:
        lines = analyse_ablation(checkpoints, hr, out, layer=layer, colour=colour, kind=kind, progress=progress)
    _say(lines)


@app.command()
def representation(
    checkpoint: Checkpoint,
    hr: Photographs,
    out: Out,
    layer: Annotated[str | None, typer.Option(help="Which features.", show_default="last block")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Degradation; repeatable, two or more.", show_default="all eight"),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of the middle part of a photograph, LR pixels.", min=8)] = 64,
    count: Annotated[int | None, typer.Option(help="Photographs to take, by name.", min=2, show_default="all")] = None,
) -> None:
    """Show whether a network tells degradations apart: deep degradation representations.

    Features of every photograph under every degradation, reduced by PCA and t-SNE, and the Calinski-Harabasz index
    (CHI) of the degradations: the lower, the better the network generalises. Writes representation.json and
    representation.png.

    Example: repsr-train analyse representation dropout.safetensors --hr BSD100 --count 50 --out representation
    """
    from repsr_train.analysis.commands import analyse_representation

    with _progress("photographs") as progress:
        lines = analyse_representation(
            checkpoint, hr, out, layer=layer, kinds=kind or (), crop=crop, count=count, progress=progress
        )
    _say(lines)


@contextmanager
def _progress(what: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(lines: Sequence[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line, markup=False)
