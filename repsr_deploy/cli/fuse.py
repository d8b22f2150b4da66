"""`repsr-fuse`: parse, call, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from repsr_deploy.cli.errors import run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fold trained networks into plain 3x3 convolutions, prove it, export; say what a file is.",
)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) written by repsr-train.")],
    out: Annotated[Path, typer.Option(help="ONNX model to write.")],
    proof: Annotated[Path | None, typer.Option(help="Also write the whole proof as JSON.")] = None,
    probe: Annotated[
        list[Path] | None, typer.Option(help="Photograph to use in the proof, beside the built-in images; repeatable.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Folder with photographs on which AdaDM's factor is made a constant: the model changes a little (the "
            "loss is measured) and can be tiled."
        ),
    ] = None,
) -> None:
    """Fold a checkpoint into plain 3x3 convolutions, prove that nothing changed, and write an ONNX model.

    The proof runs both networks in float64 on the same images, layer by layer, borders apart from the interior. The
    model is compared with PyTorch in ONNX Runtime at several odd sizes before the file gets its name; if anything
    disagrees no file is written.

    Example: repsr-fuse export runs/x2/checkpoint.safetensors --out model.onnx --proof proof.json
    """
    from repsr_deploy.export.checkpoint import export_checkpoint
    from repsr_deploy.imaging.folders import find_images

    photographs = [] if calibrate is None else find_images([calibrate]).images
    report = export_checkpoint(checkpoint, out, proof, probe or (), photographs)
    before, after = report.proof.before, report.proof.after
    table = Table("", "branches", "folded", "ratio", title=f"{report.proof.network} x{report.info.scale}")
    for name in ("parameters", "macs_per_lr_pixel", "nodes"):
        old, new = getattr(before, name), getattr(after, name)
        table.add_row(name.replace("_", " "), f"{old:,}", f"{new:,}", f"{old / new:.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    whole = report.proof.whole
    errors = f"interior {whole.max_error_interior:.1e}, border {whole.max_error_border:.1e}"
    console.print(
        f"proof passed: {len(report.proof.sites)} layers exact on {len(report.proof.probes)} images; "
        f"float64 error {errors} of range {whole.range:.2f}\n"
        f"ONNX Runtime agrees with PyTorch within {report.check['relative_error']:.1e} "
        f"at {len(report.check['shapes'])} sizes"
    )
    for line in report.proof.kept:
        console.print(f"kept: {line}", markup=False)
    if report.calibration is not None:
        loss = report.calibration["psnr_y_before"] - report.calibration["psnr_y_after"]
        console.print(f"calibrated on {report.calibration['photographs']} photographs: {loss:+.3f} dB of PSNR-Y lost")
    console.print(f"wrote {out}" + (f" and {proof}" if proof else ""), markup=False)


@app.command()
def inspect(file: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) or model (.onnx).")]) -> None:
    """Say what a file is: network, scale, halo, parameters, MACs, history.

    Example: repsr-fuse inspect model.onnx
    """
    from repsr_deploy.export.inspect import inspect_file

    for key, value in inspect_file(file).items():
        typer.echo(f"{key + ':':<23}{value}")


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, "repsr-fuse", args)
