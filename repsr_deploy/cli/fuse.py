"""`repsr-fuse`: parse, call, print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repsr_deploy.cli.errors import run
from repsr_deploy.cli.fuse_triton import triton
from repsr_deploy.errors import ProofError, UsageError
from repsr_deploy.model_info import ModelIo, Precision

if TYPE_CHECKING:
    from repsr_deploy.export.checkpoint import ExportReport
    from repsr_deploy.export.convert import Conversion, Target
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
            help="Checkpoint written by repsr-train; any .onnx model; a bundled model by its name; .pth or "
            ".safetensors of a network that spandrel knows.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .onnx; .xml, OpenVINO; .engine, TensorRT; .safetensors, a folded checkpoint; .pth, a "
            "checkpoint of Compact (SRVGGNetCompact), which other tools load."
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
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, bf16 or int8: the types in the graph, which decide how engines compute.")
    ] = "fp32",
    model_io: Annotated[
        str,
        typer.Option(
            "--io",
            help="float: N x C x H x W in 0..1. image: uint8 N x H x W x 3, conversion, clamp and rounding inside. "
            "features: ends before skip, PixelShuffle and clamp, for a fused kernel.",
        ),
    ] = "float",
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set.", show_default="the oldest that can say it")
    ] = None,
    shape: Annotated[
        str,
        typer.Option(help="The only images that the model takes, NxCxHxW or HxW; for an engine MIN:OPT:MAX of such."),
    ] = "",
    file_format: Annotated[
        str, typer.Option("--format", help="onnx, openvino, tensorrt or tensorrt-rtx.", show_default="by the name")
    ] = "",
    max_drop: Annotated[float, typer.Option(min=0, help="PSNR-Y in dB that int8 may cost.")] = 0.1,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="Folder of HR photographs to calibrate int8 on, and to look for overflow.",
            show_default="scikit-image's",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Folder of HR photographs on which --max-drop must hold.", show_default="those of --photos"),
    ] = None,
    level: Annotated[int, typer.Option(min=0, max=5, help="Effort of TensorRT's builder, 0 to 5.")] = 3,
) -> None:
    """Fold a network, prove that nothing changed, and write it.

    A checkpoint of repsr-train folds into plain 3x3 convolutions. Of any other network every linear region is found and
    folded where that is exact and saves work; what is kept is listed with the reason.

    The proof runs both networks in float64 on the same images, borders apart from the interior. The file is then run in
    every runtime that is installed, and compared with PyTorch; if anything disagrees no file is written.

    fp16 and bf16 are tried on photographs and extremes, and given up for the next longer type where they overflow. int8
    keeps sensitive layers float until PSNR-Y falls by no more than --max-drop.

    \b
    repsr-fuse export runs/x2/checkpoint.safetensors --out model.onnx --proof proof.json
    repsr-fuse export photo-x2 --out photo-x2_fp16_image.onnx --precision fp16 --io image
    repsr-fuse export photo-x2 --out photo-x2.engine --precision fp16 --shape 64x64:360x640:1080x1920
    """
    from repsr_deploy.checkpoint import is_checkpoint, is_foreign
    from repsr_deploy.imaging.folders import find_images
    from repsr_deploy.weights import bundled_names, find_model

    source = find_model(source) if str(source) in bundled_names() else source

    def images_in(folder: Path | None) -> list[Path]:
        return [] if folder is None else find_images([folder]).images

    photographs = images_in(calibrate)
    target = _target(
        precision=precision,
        io=model_io,
        opset=opset,
        shape=shape,
        format=file_format or None,
        level=level,
        max_drop_db=max_drop,
        photographs=images_in(photos),
        validation=images_in(validation),
    )
    if is_checkpoint(source) and not is_foreign(source):
        for name, given in (("--objective", objective is not None), ("--allow-border", allow_border)):
            if given:
                raise UsageError(f"{name} is for graphs and foreign networks; {source} folds layer by layer, exactly")
        from repsr_deploy.export.checkpoint import export_checkpoint

        report = export_checkpoint(
            source, out, proof, probe or (), photographs, compact=compact, target=target, say=_say
        )
        _show_fold(report)
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
            target=target,
            say=_say,
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
    for line in report.proof.kept:
        console.print(f"kept: {line}", markup=False)
    _show_calibration(report.calibration)
    _show_conversion(report.conversion)


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
    _show_conversion(report.conversion)


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


def _show_conversion(conversion: Conversion | None) -> None:
    from repsr_deploy.runtimes import unavailable

    if conversion is None:
        return
    console = _console()
    for note in conversion.notes:
        console.print(note, markup=False)
    if conversion.int8 is not None:
        for key, value in conversion.int8.lines().items():
            console.print(f"{key}: {value}", markup=False)
    missing = unavailable()
    for check in conversion.checks:
        if check.runtime not in missing:
            console.print(check.line, markup=False)
    if missing:
        console.print(f"no self-test in {', '.join(missing)}: not usable here (repsr-fuse runtimes says why)")


def _target(**choices: Any) -> Target:
    """The form that is asked for.

    Raises:
        UsageError: a word that is none of the choices.
    """
    from repsr_deploy.export.convert import Format, Target

    for key, kind in (("precision", Precision), ("io", ModelIo), ("format", Format)):
        if choices[key] is not None and choices[key] not in get_args(kind):
            raise UsageError(f"--{key} {choices[key]}; expected {', '.join(get_args(kind))}")
    return Target(**choices)


def _say(line: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(line, markup=False)


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


@app.command()
def runtimes(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file that export wrote.")] = "photo-x2",
) -> None:
    """Say which runtimes can run a model here, in which precision, and why others cannot.

    Example: repsr-fuse runtimes model.onnx
    """
    from repsr_deploy.runtimes import candidates, unavailable
    from repsr_deploy.runtimes.source import stated_info
    from repsr_deploy.weights import find_model

    path = find_model(model)
    info = stated_info(path)
    if info is None:
        raise UsageError(f"{model} says nothing about itself; expected a model that repsr-fuse export wrote")
    for candidate in candidates(info, path):
        typer.echo(f"{candidate.runtime}, {candidate.precision}")
    for name, reason in unavailable(path).items():
        typer.echo(f"{name}: {reason}")


app.command()(triton)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, "repsr-fuse", args)
