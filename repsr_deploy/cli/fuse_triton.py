"""`repsr-fuse triton`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from repsr_deploy.errors import UsageError


def triton(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file that export wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the model repository; made where there is none.")],
    name: Annotated[
        str | None, typer.Option(help="Of the model, as clients ask for it.", show_default="the file's")
    ] = None,
    backend: Annotated[str, typer.Option(help="Of Triton: onnxruntime, tensorrt or openvino.")] = "onnxruntime",
    max_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Most images that Triton puts together.", show_default="4; openvino has none"),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(
            help="HxW, the only images; or MIN:OPT:MAX of such: OPT warms up, and TensorRT's engine is built for them.",
            show_default="1x1:360x640:1080x1920",
        ),
    ] = "",
) -> None:
    """Write a model into a model repository of Triton Inference Server.

    The configuration has the model's tensors, dynamic batching and warm-up; its parameters say scale and halo. Where
    the repository has a model of that name that clients cannot tell from this one, this becomes its next version, and
    the configuration that is there stays.

    TensorRT builds the engine on this machine, for this GPU and this version of TensorRT.

    \b
    repsr-fuse triton photo-x2 --out models
    repsr-fuse triton photo-x2_fp16.onnx --out models --name photo-x2 --backend tensorrt --shape 64x64:256x256:512x512
    """
    from repsr_deploy.export.triton import BACKENDS, Backend, Serving, add_model
    from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES, Shapes
    from repsr_deploy.weights import find_model

    if backend not in BACKENDS:
        raise UsageError(f"--backend {backend}; expected {', '.join(BACKENDS)}")
    serving = Serving(
        backend=cast("Backend", backend),
        max_batch=max_batch,
        shapes=Shapes.parse(shape) if shape else DEFAULT_SHAPES,
    )
    source = find_model(model)
    added = add_model(source, out, name or source.stem, serving, lambda line: typer.echo(line, err=True))
    typer.echo(f"wrote {added.file}")
