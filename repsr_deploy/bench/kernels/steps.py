"""Whole steps on a processor, 8-bit picture to 8-bit picture: features and the kernel against other ways to deploy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.ways import Timer, Way, Work, attempt, compare_ways
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.sources import Source, read_source
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_deploy.errors import UsageError
from repsr_deploy.model_info import ModelInfo, ModelIo, Precision
from repsr_deploy.runtimes import Candidate, Runtime, open_runtime

BY: Mapping[ModelIo, str] = {
    "features": "io features, then the kernel", "image": "io image", "float": "io float and conversions"
}  # fmt: skip
"""The first is what the others are compared with."""
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Forms:
    """A model in every io."""

    source: Source
    files: Mapping[ModelIo, Path]


def read_network(model: str, scratch: Path) -> Source:
    """A bundled model, an .onnx file or a checkpoint, of which every form can be made.

    Raises:
        UsageError: it is no fp32 network of io float for RGB.
        RepsrError: it cannot be read.
    """
    source = read_source(model, scratch)
    info = source.info
    if not source.is_reference or info.colour != "rgb":
        raise UsageError(
            f"{model} is {info.precision} of io {info.io}, {info.colour}; expected fp32 of io float for RGB"
        )
    return source


def exported(source: Source, io: ModelIo, precision: Precision, say: Say) -> tuple[Path, ModelInfo]:
    """A model in another form, and what it says about itself.

    Raises:
        RepsrError: it cannot be exported so.
        ModuleNotFoundError: PyTorch or onnx-ir is not installed.
    """
    from repsr_deploy.export.convert import Target, convert
    from repsr_deploy.folding.graph.read import read_graph

    say(f"exporting {source.model} in {precision}, io {io}")
    file = source.folder / f"{io}_{precision}.onnx"
    return file, convert(read_graph(source.file), source.info, file, Target(io=io, precision=precision), say).info


def export_forms(source: Source, say: Say) -> Forms:
    """A model in every io.

    Raises:
        As `exported`.
    """
    files: dict[ModelIo, Path] = {
        io: source.file if io == "float" else exported(source, io, "fp32", say)[0] for io in BY
    }
    return Forms(source=source, files=files)


def measure_steps(
    forms: Forms, height: int, width: int, candidate: Candidate, *, where: str, threads: int, timer: Timer
) -> list[Row]:
    """Every io of a model in one runtime and precision at one size, verified by ONNX Runtime in fp32.

    Raises:
        RepsrError: the runtime cannot open the model, or ONNX Runtime cannot run the reference.
    """
    images_nhwc = photograph_like(height, width)[None]
    reference = open_runtime(forms.files["float"], "onnxruntime", threads=threads, precision="fp32")
    expected_nhwc = reference.run_images(images_nhwc)
    work = Work(where=where, what="whole step", data=f"{forms.source.model}, {candidate}", size=f"{width}x{height}")
    ways: list[Way] = []
    for io, by in BY.items():
        opened = open_runtime(forms.files[io], candidate.runtime, threads=threads, precision=candidate.precision)
        ways += attempt([by], partial(_ways, by, opened, images_nhwc, expected_nhwc, threads))
    return compare_ways(work, ways, timer)


def _ways(
    by: str, runtime: Runtime, images_nhwc: NDArray[np.uint8], expected_nhwc: NDArray[np.uint8], threads: int
) -> list[Way]:
    """One form, once its output is compared."""
    if runtime.info.io == "features":
        from repsr_deploy.runtimes.finished import finished

        runtime = finished(runtime, threads=threads)

    def run() -> NDArray[Any]:
        return runtime.run_images(images_nhwc)

    output_db = psnr_db(run(), expected_nhwc)
    failure = why_wrong(output_db, runtime.precision, rounded=True)
    return [Way(by=by, run=run, verified_db=output_db, failure=failure)]
