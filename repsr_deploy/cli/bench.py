"""`repsr-bench`: parse, call, print."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from repsr_deploy.cli.bench_cpu import cpu
from repsr_deploy.cli.bench_kernels import kernels
from repsr_deploy.cli.bench_options import (
    CORES,
    NAME,
    SHAPES,
    JsonFile,
    MarkdownFile,
    Threads,
    check_outputs,
    command_line,
    counts,
    names,
    pictures,
    shapes_of,
)
from repsr_deploy.cli.bench_output import open_console, progress_bar, show
from repsr_deploy.cli.errors import run
from repsr_deploy.cli.upscale_request import parse_workers
from repsr_deploy.model_info import Precision

log = logging.getLogger(__name__)

LINE_WIDTH = 60
"""Of what another program prints, as the progress bar shows it."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure speed honestly: outputs verified in the same run, candidates in turns, every time kept.",
)


@app.command()
def throughput(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Bundled names (photo-x2), .onnx files, checkpoints of repsr-train, compiled engines.",
        ),
    ],
    *,
    runtimes: Annotated[str, typer.Option(help="Names, comma between.", show_default="all that are here")] = "",
    precisions: Annotated[
        str,
        typer.Option(
            help="Of fp32, fp16, bf16, int8; models are exported where need be.",
            show_default="what the files as they are can be computed in",
        ),
    ] = "",
    shapes: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the input, comma between.")] = SHAPES,
    batch: Annotated[str, typer.Option(help="Images at a time, comma between.")] = "1",
    threads: Threads = CORES,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of measurement for each model, shape and batch.")] = 10.0,
    hr: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="High-resolution pictures on which PSNR-Y is measured.")
    ] = None,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Also draw it.")] = None,
) -> None:
    """Compare models, runtimes and precisions: time, memory, and whether they compute the same picture.

    \b
    repsr-bench throughput photo-x2
    repsr-bench throughput photo-x2 photo-x4 --precisions fp32,bf16,int8 --hr kodak24 --plot speed.png
    repsr-bench throughput mine.onnx mine-int8.onnx --runtimes onnxruntime,openvino --shapes 1280x720 --batch 1,4

    A bundled model and a checkpoint are measured folded and with their branches, also in PyTorch. The output of each
    row is compared with that of ONNX Runtime in fp32 on a picture with the statistics of a photograph; one that differs
    by more than its precision allows has no speed. Memory is that of a fresh process. What fails is a row with the
    reason.
    """
    from repsr_deploy.bench.families import Selection, precision_named
    from repsr_deploy.bench.throughput import Settings, measure_throughput

    settings = Settings(
        selection=Selection(
            runtimes=names(runtimes), precisions=tuple(precision_named(name) for name in names(precisions))
        ),
        shapes=shapes_of(shapes),
        batches=counts(batch),
        threads=threads,
        seconds=seconds,
        hr=pictures(hr),
    )
    check_outputs((json_file, ".json"), (markdown_file, ".md"), (plot, ".png"))
    with progress_bar() as progress:
        report = measure_throughput(models, settings, arguments=command_line(), progress=progress)
    show(report, "Throughput", json_file, markdown_file)
    if plot is not None:
        from repsr_deploy.bench.plot import draw_report

        draw_report(plot, report)
        typer.echo(f"wrote {plot}")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="Report of an earlier run.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Report of a later one, same command.")],
    *,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the comparison to this file.")] = None,
) -> None:
    """Say which rows of B are faster or slower than in A by more than the noise.

    Example: repsr-bench compare monday.json tuesday.json
    """
    from repsr_deploy.bench.compare import RULE, compare_reports
    from repsr_deploy.bench.report import read_report
    from repsr_deploy.bench.table import comparison_table
    from repsr_deploy.files import write_text

    check_outputs((json_file, ".json"))
    comparison = compare_reports(read_report(before), read_report(after))
    for line in comparison.differences:
        log.warning("not the same machine or software: %s", line)
    console = open_console()
    console.print(comparison_table(comparison))
    for heading, listed in (("only in A", comparison.only_before), ("only in B", comparison.only_after)):
        for name in listed:
            console.print(f"{heading}: {name}", markup=False)
    for line in comparison.failures:
        console.print(f"no speed: {line}", markup=False)
    console.print(RULE, markup=False)
    if json_file is not None:
        write_text(json_file, comparison.to_json())
        typer.echo(f"wrote {json_file}")


@app.command("end-to-end")
def end_to_end(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Pictures, videos, and folders of them.")],
    *,
    model: Annotated[str, typer.Option("-m", "--model", help="A bundled name, or a model file.")] = "photo-x2",
    runtime: Annotated[str, typer.Option(help="The backend; auto takes the fastest here.")] = "auto",
    precision: Annotated[
        Precision | None, typer.Option(help="What the backend computes in.", show_default="the backend's choice")
    ] = None,
    threads: Threads = CORES,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of measurement.")] = 20.0,
    jobs: Annotated[
        str,
        typer.Option(
            "-j",
            "--jobs",
            metavar="LOAD:PROC:SAVE",
            help="Of a folder, as of repsr-upscale.",
            show_default="what the machine has",
        ),
    ] = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="Beside a plain script of spandrel, PyTorch and OpenCV.")
    ] = False,
    video: Annotated[bool, typer.Option(help="Make a video where none is among the files.")] = True,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
) -> None:
    """Time real files from end to end: the largest picture, all pictures as a folder, and videos.

    Every row says which stage limits it. A folder's stages are also timed one after the other. With --plain, a script
    of spandrel, PyTorch and OpenCV does the same work with the same weights in turns with repsr-upscale. Files come
    from the system's cache and results go to a temporary folder. Beside that: the upscaler against the bare runtime on
    one large picture, and the memory that repsr-upscale takes.

    Example: repsr-bench end-to-end holiday/ --model photo-x4 --plain
    """
    from repsr_deploy.bench.end_to_end import Settings, measure_end_to_end

    check_outputs((json_file, ".json"), (markdown_file, ".md"))
    settings = Settings(
        model=model,
        runtime=runtime,
        precision=precision,
        threads=threads,
        seconds=seconds,
        workers=parse_workers(jobs),
        plain=plain,
        video=video,
    )
    with progress_bar() as progress:
        report = measure_end_to_end(files, settings, arguments=command_line(), progress=progress)
    show(report, "End to end", json_file, markdown_file)


@app.command()
def trtexec(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="Its types decide what the engine computes in.")],
    *,
    shapes: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:OPT:MAX",
            help="What the engine takes: HEIGHTxWIDTH or NxCxHxW each, or one for all three.",
            show_default="the model's own",
        ),
    ] = None,
    timed: Annotated[str | None, typer.Option(help="The shape that is timed.", show_default="OPT")] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of measurement.")] = 5.0,
    streams: Annotated[int, typer.Option(min=1, help="Queries in flight at once.")] = 1,
    level: Annotated[int | None, typer.Option(help="Of the builder, 0 to 5.", show_default="TensorRT's")] = None,
    workspace: Annotated[
        int | None, typer.Option(min=1, help="MiB that a layer may take for scratch.", show_default="all")
    ] = None,
    cuda_graph: Annotated[bool, typer.Option(help="Launch the network as one CUDA graph.")] = True,
    transfers: Annotated[bool, typer.Option(help="Copy pictures to the GPU and back, for the end-to-end time.")] = True,
    tf32: Annotated[bool, typer.Option(help="Let fp32 convolutions multiply with 10 bits of mantissa.")] = True,
    engine: Annotated[Path | None, typer.Option(help="Keep the engine in this file.")] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="Kernel timings, read and written.")] = None,
    program: Annotated[Path | None, typer.Option(help="trtexec or tensorrt_rtx.", show_default="looked for")] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show all that the program prints.")] = False,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
) -> None:
    """Build an engine with NVIDIA's own program and time it: on the GPU alone and end to end, apart.

    Every choice that versions of TensorRT make differently is passed to the program and printed with the result.

    Example: repsr-bench trtexec model.onnx --shapes 64x64:720x1280:1080x1920
    """
    from repsr_deploy.bench.engine_report import measure_engine
    from repsr_deploy.bench.trtexec import TrtexecOptions

    check_outputs((json_file, ".json"), (markdown_file, ".md"))
    options = TrtexecOptions(
        shapes=shapes,
        timed=timed,
        use_cuda_graph=cuda_graph,
        data_transfers=transfers,
        tf32=tf32,
        duration_s=seconds,
        streams=streams,
        optimization_level=level,
        workspace_mib=workspace,
        timing_cache=timing_cache,
        engine=engine,
    )
    with progress_bar() as progress:

        def on_line(line: str) -> None:
            progress(line.strip()[:LINE_WIDTH], 0.0)
            if verbose:
                typer.echo(line, err=True)

        report = measure_engine(model, options, program=program, arguments=command_line(), on_line=on_line)
    show(report, "Engine", json_file, markdown_file)


app.command()(kernels)
app.command()(cpu)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point; `args` defaults to the process's own."""
    return run(app, NAME, args)
