"""`repsr-bench cpu`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repsr_deploy.cli.bench_options import (
    CORES,
    SHAPES,
    JsonFile,
    MarkdownFile,
    Threads,
    check_outputs,
    command_line,
    names,
    shapes_of,
)
from repsr_deploy.cli.bench_output import progress_bar, show


def cpu(
    *,
    models: Annotated[
        str,
        typer.Option(
            help="Bundled names, .onnx files, and plain-mMcC-xS, which has random weights; comma between. The first "
            "is measured at all shapes, with one thread and in memory, the others at the first shape.",
            show_default="both bundled ones, and wider networks",
        ),
    ] = "",
    shapes: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the input, comma between.")] = SHAPES,
    instruction_sets: Annotated[
        str,
        typer.Option(help="That the engine is made to use beside the best, comma between.", show_default="none"),
    ] = "",
    threads: Threads = CORES,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of measurement for each model and shape.")] = 3.0,
    memory: Annotated[bool, typer.Option(help="Measure resident memory at 3840x2160.")] = True,
    torch_compile: Annotated[
        bool, typer.Option(help="Let PyTorch's compiler take part; it takes seconds for each shape and precision.")
    ] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also say where the engine's time goes; takes a minute and valgrind.")
    ] = False,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw the first model.")] = None,
) -> None:
    """Time the processor engine against the other runtimes, 8-bit pictures to 8-bit pictures.

    \b
    repsr-bench cpu
    repsr-bench cpu --instruction-sets avx2 --json cpu.json --markdown cpu.md --plot cpu.png
    repsr-bench cpu --models mine.onnx,plain-m8c32-x4 --shapes 1280x720

    Each takes its own fastest way, whole or in tiles, found in a trial; all outputs are compared with that of ONNX
    Runtime in fp32 before they are timed in turns. Speed is also given as a share of what the same instructions and a
    matrix product reach in the same run.
    """
    from repsr_deploy.bench.cpu.measure import MODELS, Settings, measure_cpu

    settings = Settings(
        models=names(models) or MODELS,
        shapes=shapes_of(shapes),
        instruction_sets=names(instruction_sets),
        threads=threads,
        seconds=seconds,
        memory=(2160, 3840) if memory else None,
        compiled=torch_compile,
        profile=profile,
    )
    check_outputs((json_file, ".json"), (markdown_file, ".md"), (plot, ".png"))
    with progress_bar() as progress:
        report = measure_cpu(settings, arguments=command_line(), progress=progress)
    show(report, "Processor", json_file, markdown_file)
    if plot is not None:
        from repsr_deploy.bench.cpu.plot import draw_report

        draw_report(plot, report)
        typer.echo(f"wrote {plot}")
