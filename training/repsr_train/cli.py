"""`repsr-train`: parse, call, print."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from repsr_deploy.cli.errors import run
from repsr_deploy.errors import UsageError

COMMANDS = {
    "prepare": "repsr_train.cli_prepare:app",
    "degrade": "repsr_train.cli_degrade:app",
    "analyse": "repsr_train.cli_analyse:app",
    "study": "repsr_train.cli_study:app",
    "qat": "repsr_train.cli_qat:app",
}
"""First word of the command line -> what runs instead of the training; imported only then."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


def _list_recipes(wanted: bool) -> None:
    if not wanted:
        return
    from repsr_train.recipes import CATALOGUE, summary

    console = Console(highlight=False, soft_wrap=True)
    for name in CATALOGUE:
        console.print(f"{name:30}{summary(name)}", markup=False)
    raise typer.Exit


@app.command(epilog=f"Other commands, each with a --help of its own: {', '.join(COMMANDS)}.")
def train(
    recipe: Annotated[
        str, typer.Argument(help="Network and how to train it, FAMILY-mMcC-xS: repsr-m4c16-x2, ...; see --list.")
    ],
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder of photographs or prepared store; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run: checkpoints, metrics, curves, state.")] = None,
    val: Annotated[
        list[Path] | None, typer.Option(help="The same for validation PSNR, never trained on; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file that changes values of the recipe.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value: lr=5e-4, network.expansion=3; repeatable."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Short for --set steps=N.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit for bit.")] = False,
    init_from: Annotated[
        Path | None, typer.Option(help="Weights to start from where they fit: .safetensors or .pth of BasicSR.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.", min=1)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that cut crops; default: as needed.", min=0, show_default=False)
    ] = None,
    data_licence: Annotated[str, typer.Option(help="Licences of the photographs, written into the checkpoint.")] = "",
    save_pth: Annotated[bool, typer.Option("--save-pth", help="Write checkpoint.pth, too, as BasicSR does.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the resolved recipe as JSON and stop.")] = False,
    _list: Annotated[
        bool, typer.Option("--list", help="List recipes and stop.", callback=_list_recipes, is_eager=True)
    ] = False,
) -> None:
    """Train a super-resolution network on photographs.

    Photographs may be PNG, JPEG or WebP of any size; LR images are made from them as MATLAB's imresize does. Large
    JPEG files are reduced 2 to 4 times first, which removes their compression traces. Ctrl-C saves the state;
    --resume continues. Values: those of the recipe, changed by --config, changed by --set.

    Several devices: torchrun --nproc-per-node N -m repsr_train RECIPE ...

    Example: repsr-train repsr-m4c16-x2 --data photos/train --val photos/val --out runs/x2 --steps 20000
    """
    from repsr_train.overrides import assign, read_config
    from repsr_train.recipes import recipe as recipe_of

    chosen = recipe_of(recipe)
    chosen = read_config(chosen, config) if config is not None else chosen
    chosen = assign(chosen, [*(assignments or ()), *([f"steps={steps}"] if steps is not None else ())])
    if show:
        Console(highlight=False, soft_wrap=True).print_json(chosen.to_json())
        return
    if not data or out is None:
        raise UsageError(f"no --{'data' if not data else 'out'} is given; expected a folder")

    # threads that wait actively make a machine with anything else to do ten times slower; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from repsr_train.experiment import Experiment, run_experiment

    if threads is not None:
        torch.set_num_threads(threads)
    run_experiment(
        Experiment(
            recipe=chosen,
            data=data,
            validation=val or (),
            out=out,
            resume=resume,
            init_from=init_from,
            device=device,
            workers=workers,
            data_licence=data_licence,
            save_pth=save_pth,
        ),
        Console(stderr=True, highlight=False, soft_wrap=True),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    args = sys.argv[1:] if args is None else args
    if args and args[0] in COMMANDS:
        module, _, name = COMMANDS[args[0]].partition(":")
        return run(getattr(importlib.import_module(module), name), f"repsr-train {args[0]}", args[1:])
    return run(app, "repsr-train", args)
