"""`repsr-fuse`: parse, call, print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repsr_deploy.cli.errors import run
from repsr_deploy.errors import ProofError, UsageError

if TYPE_CHECKING:
    from repsr_deploy.export.checkpoint import ExportReport
    from repsr_deploy.export.graph import GraphReport, Objective

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fold networks, prove it, export; say what a file is; compare two.",
)


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Checkpoint written by repsr-train; any .onnx model; .pth or .safetensors of a network that spandrel "
            "knows.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Model to write: .onnx; .safetensors, a folded checkpoint; .pth, a checkpoint of Compact "
            "(SRVGGNetCompact), which other tools load."
        ),
    ],
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
    objective: Annotated[
        str | None,
        typer.Option(
            help="What a fold must save, for graphs and foreign networks: macs (default), nodes, or latency, which "
            "measures in ONNX Runtime on this machine."
        ),
    ] = None,
    allow_border: Annotated[
        bool,
        typer.Option(
            "--allow-border", help="For graphs: also fold what is exact in the interior only; the change is reported."
        ),
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Write .safetensors as a checkpoint of Compact, too.")
    ] = False,
) -> None:
    """Fold a network, prove that nothing changed, and write it.

    A checkpoint of repsr-train folds into plain 3x3 convolutions. Of any other network every linear region is found and
    folded where that is exact and saves work; what is kept is listed with the reason.

    The proof runs both networks in float64 on the same images, borders apart from the interior. The result is also
    compared in ONNX Runtime before the file gets its name; if anything disagrees no file is written.

    Example: repsr-fuse export runs/x2/checkpoint.safetensors --out model.onnx --proof proof.json
    """
    from repsr_deploy.checkpoint import is_checkpoint, is_foreign
    from repsr_deploy.imaging.folders import find_images

    photographs = [] if calibrate is None else find_images([calibrate]).images
    if is_checkpoint(source) and not is_foreign(source):
        for name, given in (("--objective", objective is not None), ("--allow-border", allow_border)):
            if given:
                raise UsageError(f"{name} is for graphs and foreign networks; {source} folds layer by layer, exactly")
        from repsr_deploy.export.checkpoint import export_checkpoint

        _show_fold(export_checkpoint(source, out, proof, probe or (), photographs, compact=compact))
    else:
        from repsr_deploy.export.graph import export_graph
        from repsr_deploy.export.probes import photograph_crops

        report = export_graph(
            source,
            out,
            proof=proof,
            probes=photograph_crops(probe or ()),
            calibration=photographs,
            objective=_objective(objective or "macs"),
            allow_border=allow_border,
        )
        _show_graph(report)
    typer.echo(f"wrote {out}" + (f" and {proof}" if proof else ""))


def _objective(text: str) -> Objective:
    choices: tuple[Objective, ...] = ("macs", "nodes", "latency")
    for choice in choices:
        if choice == text:
            return choice
    raise UsageError(f"--objective {text}; expected {', '.join(choices)}")


def _show_fold(report: ExportReport) -> None:
    before, after = report.proof.before, report.proof.after
    table = Table("", "branches", "folded", "ratio", title=f"{report.proof.network} x{report.info.scale}")
    for name in ("parameters", "macs_per_lr_pixel", "nodes"):
        old, new = getattr(before, name), getattr(after, name)
        table.add_row(name.replace("_", " "), f"{old:,}", f"{new:,}", f"{old / new:.1f}")
    console = _console()
    console.print(table)
    whole = report.proof.whole
    errors = f"interior {whole.max_error_interior:.1e}, border {whole.max_error_border:.1e}"
    console.print(
        f"proof passed: {len(report.proof.sites)} layers exact on {len(report.proof.probes)} images; "
        f"float64 error {errors} of range {whole.range:.2f}"
    )
    if report.check is not None:
        console.print(
            f"ONNX Runtime agrees with PyTorch within {report.check['relative_error']:.1e} "
            f"at {len(report.check['shapes'])} sizes"
        )
    for line in report.proof.kept:
        console.print(f"kept: {line}", markup=False)
    _show_calibration(report.calibration)


def _show_graph(report: GraphReport) -> None:
    console = _console()
    for note in report.notes:
        console.print(note, markup=False)
    console.print(_site_table(report.proof.sites, report.proof.network))
    table = Table("", "before", "after", "ratio")
    for field in fields(report.proof.before):
        old, new = (getattr(cost, field.name) for cost in (report.proof.before, report.proof.after))
        table.add_row(field.name.replace("_", " "), f"{old:,.0f}", f"{new:,.0f}", f"{old / new:.2f}" if new else "")
    console.print(table)
    worst = max(report.proof.whole, key=lambda item: item.relative_error).comparison
    console.print(
        f"proof passed on {len(report.proof.probes)} images: float64 error interior {worst.max_error_interior:.1e}, "
        f"border {worst.max_error_border:.1e} of range {worst.range:.3g}; as stored, in ONNX Runtime, "
        f"{max(item.relative_error for item in report.proof.stored):.1e} of the range"
    )
    for name, milliseconds in report.latency_ms.items():
        console.print(f"{name}: {milliseconds:.1f} ms")
    _show_calibration(report.calibration)


def _site_table(sites: Sequence[Any], title: str) -> Table:
    """Sites of a graph; those of the same outcome, rule and reason share a row."""
    table = Table("outcome", "sites", "first", "rule or reason", title=title)
    rows = Counter((site.outcome, site.reason or site.rule) for site in sites)
    first = {(site.outcome, site.reason or site.rule): site.value for site in reversed(sites)}
    for (outcome, text), count in rows.items():
        table.add_row(outcome, str(count), Text(first[outcome, text]), Text(text))
    if not sites:
        table.add_row("", "0", "", "nothing linear leads to anything linear")
    return table


def _show_calibration(calibration: Mapping[str, Any] | None) -> None:
    if calibration is not None:
        loss = calibration["psnr_y_before"] - calibration["psnr_y_after"]
        _console().print(f"calibrated on {calibration['photographs']} photographs: {loss:+.3f} dB of PSNR-Y lost")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Checkpoint or model, ours or foreign.")],
) -> None:
    """Say what a file is: network, scale, halo, parameters, MACs, history, and what could be folded in it.

    Example: repsr-fuse inspect model.onnx
    """
    from repsr_deploy.export.inspect import inspect_file, sites_of

    for key, value in inspect_file(file).items():
        typer.echo(f"{key + ':':<23}{value}")
    _console().print(_site_table(sites_of(file), "what export would fold"))


@app.command()
def verify(
    a: Annotated[Path, typer.Argument(help="An .onnx model or a checkpoint, ours or foreign.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Largest difference allowed, as a fraction of the output's range.")
    ] = None,
    probe: Annotated[
        list[Path] | None, typer.Option(help="Photograph to compare on, beside the built-in images; repeatable.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--json", help="Also write the whole comparison as JSON.")] = None,
) -> None:
    """Compare two networks, in float64, on the same images. Exit code 1 if they differ.

    Example: repsr-fuse verify original.onnx folded.onnx
    """
    from repsr_deploy.export.probes import photograph_crops
    from repsr_deploy.export.verify import verify_files
    from repsr_deploy.files import write_text
    from repsr_deploy.tolerances import TOLERANCES

    allowed = TOLERANCES["store"] if tolerance is None else tolerance
    verdict = verify_files(a, b, tolerance=allowed, photographs=photograph_crops(probe or ()))
    for key, value in verdict.lines().items():
        typer.echo(f"{key + ':':<37}{value}")
    if report is not None:
        write_text(report, verdict.to_json())
    if not verdict.equal:
        raise ProofError(f"{a} and {b} do not compute the same")


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, "repsr-fuse", args)
