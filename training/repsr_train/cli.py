"""`repsr-train`: parse, call, print."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from repsr_deploy.cli.errors import run

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="Network to train, FAMILY-mMcC-xS: repsr-m4c16-x2, ecbsr-m10c32-x4, ...")
    ],
    data: Annotated[Path, typer.Option(help="Folder with photographs to train on, searched recursively.")],
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoint.safetensors, run.json, log.jsonl, state.")],
    val: Annotated[
        Path | None, typer.Option(help="Folder with photographs for validation PSNR; never trained on.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; the learning rate's cosine ends there.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe: lr=5e-4, batch=32, ..."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit for bit.")] = False,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from where names and shapes agree.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.", min=1)] = None,
    data_licence: Annotated[str, typer.Option(help="Licences of the photographs, written into the checkpoint.")] = "",
    show: Annotated[bool, typer.Option("--show", help="Print the resolved recipe as JSON and stop.")] = False,
) -> None:
    """Train a super-resolution network with branches on a folder of photographs.

    Photographs may be PNG, JPEG or WebP of any size; LR images are made from them as MATLAB's imresize does. Large
    JPEG files are reduced 2 to 4 times first, which removes their compression traces. Ctrl-C saves the state;
    --resume continues.

    Example: repsr-train repsr-m4c16-x2 --data photos/train --val photos/val --out runs/x2 --steps 20000
    """
    from repsr_train import recipes

    changes = [*(assignments or ()), *([f"steps={steps}"] if steps is not None else ())]
    resolved = recipes.override(recipes.recipe(recipe), changes)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if show:
        Console(highlight=False, soft_wrap=True).print_json(resolved.to_json())
        return

    # threads that wait actively make a machine with anything else to do ten times slower; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from repsr_train.experiment import Experiment, run_experiment

    if threads is not None:
        torch.set_num_threads(threads)
    checkpoint = run_experiment(
        Experiment(
            recipe=resolved,
            data=data,
            validation=val,
            out=out,
            resume=resume,
            init=init,
            device=device,
            data_licence=data_licence,
        ),
        lambda line: console.print(line, markup=False),
    )
    console.print(
        f"wrote {checkpoint}; fold and export it with: repsr-fuse export {checkpoint} --out MODEL.onnx", markup=False
    )


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, "repsr-train", args)
