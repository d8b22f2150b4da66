"""`repsr-train degrade`: show what degradations do to a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def degrade(
    photo: Annotated[Path, typer.Argument(help="Photograph to degrade: PNG, JPEG or WebP.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    scale: Annotated[int, typer.Option(help="Factor by which the photograph is reduced.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="Of the second-order samples.", min=0)] = 0,
    count: Annotated[int, typer.Option(help="Number of second-order samples.", min=0)] = 8,
) -> None:
    """Write a gallery of degradations of the middle of PHOTO.

    It shows the original, the eight test degradations (clean, blur, noise, JPEG and their combinations), and samples
    of the second-order degradation that training uses, each labelled with what was drawn for it.

    Example: repsr-train degrade photo.png --out gallery.png --scale 4
    """
    from repsr_deploy.metrics.evaluate import read_reference
    from repsr_train.degradations.gallery import gallery

    gallery(out, read_reference(photo, scale), name=photo.name, scale=scale, seed=seed, count=count)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"wrote {out}", markup=False)
