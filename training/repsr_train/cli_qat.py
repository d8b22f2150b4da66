"""`repsr-train qat`: parse, call, print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

START = "start.safetensors"
"""The folded, equalised network that the fine-tuning starts from, in the folder of the run."""
STEPS, LR = 3000, 2e-4


@app.command()
def qat(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of repsr-train, with its branches or folded.")],
    data: Annotated[list[Path], typer.Option(help="Folder of photographs or prepared store; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the run: checkpoints, metrics, curves, state.")],
    val: Annotated[
        list[Path] | None, typer.Option(help="The same for validation PSNR, never trained on; may be repeated.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photographs to calibrate on.", show_default="scikit-image's")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of fine-tuning.")] = STEPS,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = LR,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change another value; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit for bit.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores.", min=1)] = None,
    data_licence: Annotated[str, typer.Option(help="Licences of the photographs, written into the checkpoint.")] = "",
) -> None:
    """Fine-tune a folded network in int8, for where post-training quantization costs too much.

    The network is folded, its channels are equalised, and the scales of its int8 inputs are chosen on photographs; then
    it trains for a while with weights and inputs rounded as the exported file rounds them. Validation PSNR is that of
    the int8 network. Export with: repsr-fuse export OUT/checkpoint.safetensors --out MODEL.onnx --precision int8

    Example: repsr-train qat runs/x2/checkpoint.safetensors --data photos/train --val photos/val --out runs/x2-int8
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as for training: read when torch is loaded
    import torch

    from repsr_deploy.checkpoint import load_checkpoint
    from repsr_deploy.imaging.folders import find_images
    from repsr_train.config import Recipe
    from repsr_train.experiment import Experiment, run_experiment
    from repsr_train.folder import check_folder
    from repsr_train.overrides import assign
    from repsr_train.qat import prepare, scales_of

    if threads is not None:
        torch.set_num_threads(threads)
    check_folder(out, resume=resume)
    start = out / START
    if not resume:
        prepare(checkpoint, start, () if photos is None else find_images([photos]).images)
    net, info = load_checkpoint(start)
    recipe = assign(Recipe(network=net.spec), [f"steps={steps}", f"lr={lr}", *(assignments or ())])
    run_experiment(
        Experiment(
            recipe=recipe,
            data=data,
            validation=val or (),
            out=out,
            resume=resume,
            init_from=start,
            device=device,
            data_licence=data_licence or info.data_licence,
            int8=scales_of(info.history),
        ),
        Console(stderr=True, highlight=False, soft_wrap=True),
    )
