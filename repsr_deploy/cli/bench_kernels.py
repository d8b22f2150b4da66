"""`repsr-bench kernels`: parse, call, print."""

from __future__ import annotations

from typing import Annotated

import typer

from repsr_deploy.bench.kernels import On
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
from repsr_deploy.errors import UsageError


def kernels(
    *,
    on: Annotated[On, typer.Option(help="auto is the processor, and the GPU where there is one.")] = "auto",
    models: Annotated[
        str, typer.Option(help="Of whole steps on the processor, comma between; empty for none.")
    ] = "photo-x2,photo-x4",
    shapes: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT of the input, comma between; GPUs take the largest.")
    ] = SHAPES,
    scales: Annotated[str, typer.Option(help="Of 2, 3, 4, comma between; all types are tried at the first.")] = "2,3,4",
    threads: Threads = CORES,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of measurement for each comparison.")] = 1.0,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
) -> None:
    """Time the kernels before and behind a network, and the pipeline on a GPU, against other ways of doing the same.

    \b
    repsr-bench kernels
    repsr-bench kernels --on gpu --json kernels.json --markdown kernels.md

    On a processor against NumPy and OpenCV, and whole steps in every form in which a model can be deployed; on a GPU
    against a plain copy, PyTorch and torch.compile, and the pipeline against its slowest stage. Outputs are verified in
    the same run; bytes a second count what must be read and written, once.
    """
    from repsr_deploy.bench.kernels.measure import Settings, measure_kernels

    settings = Settings(
        on=on,
        models=names(models),
        shapes=shapes_of(shapes),
        scales=_numbers(scales),
        threads=threads,
        seconds=seconds,
    )
    check_outputs((json_file, ".json"), (markdown_file, ".md"))
    with progress_bar() as progress:
        report = measure_kernels(settings, arguments=command_line(), progress=progress)
    show(report, "Kernels", json_file, markdown_file)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(name.isdecimal() for name in names(text)):
        raise UsageError(f"--scales has {text!r}; expected some of 2, 3, 4, comma between")
    return tuple(map(int, names(text)))
