"""Whole steps, 8-bit picture to 8-bit picture in memory that is there already: every way that a runtime offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.cpu.contestants import Contestant
from repsr_deploy.errors import RepsrError
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.runtimes.finished import finished
from repsr_kernels.cpu.network import Model, Network

Image = NDArray[np.uint8]
Pipeline = Callable[[Image, Image], None]
"""Enlarges the first, H x W x 3, into the second, sH x sW x 3; both are contiguous."""
WHOLE, TILES = "whole", "tiles"
STATIC = "whole, compiled for the size"
FEATURES = "whole, features finished by our kernel"
PLAIN, CHANNELS_LAST, COMPILED = "whole, channels first", "whole, channels last", "whole, channels last, compiled"
HINTS: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def ways_of(contestant: Contestant) -> tuple[str, ...]:
    """The ways that a contestant may take; tiles are those of `Upscaler`, which stay in the cache."""
    if contestant.features:
        return (FEATURES,)
    if contestant.fixed:
        return (STATIC,)
    match contestant.runtime:
        case "native":
            return (WHOLE,)
        case "openvino" | "onnxruntime":
            return (WHOLE, TILES)
        case "pytorch":
            # autocast without channels last copies every tensor: it was never the fastest
            ways = (CHANNELS_LAST,) if contestant.computes == "bf16" else (CHANNELS_LAST, PLAIN)
            return (*ways, COMPILED) if contestant.compiles else ways


def open_pipeline(contestant: Contestant, way: str, height: int, width: int) -> Pipeline:
    """One way of a contestant, for pictures of height x width LR pixels.

    Raises:
        RepsrError: the runtime cannot open the model.
    """
    if contestant.runtime == "native":
        return _native(contestant)
    if contestant.runtime == "pytorch":
        from repsr_deploy.bench.cpu.pytorch import PyTorchPipeline

        return PyTorchPipeline(
            contestant.file,
            contestant.computes,
            contestant.threads,
            channels_last=way != PLAIN,
            compiled=way == COMPILED,
        )
    if way == STATIC:
        return _static_openvino(contestant.file, contestant.computes, contestant.threads, height, width)
    opened = open_runtime(
        contestant.file, contestant.runtime, threads=contestant.threads, precision=contestant.computes
    )
    runtime = finished(opened, threads=contestant.threads)
    if way == TILES:
        upscaler = Upscaler(runtime)

        def in_tiles(image_hwc: Image, out_hwc: Image) -> None:
            upscaler.upscale(image_hwc, allocate=lambda shape, dtype: out_hwc)

        return in_tiles

    def whole(image_hwc: Image, out_hwc: Image) -> None:
        np.copyto(out_hwc, runtime.run_images(image_hwc[None])[0])

    return whole


def _native(contestant: Contestant) -> Pipeline:
    model = Model(contestant.file.read_bytes())
    network = Network(model, contestant.computes, instruction_set=contestant.instruction_set)

    def run(image_hwc: Image, out_hwc: Image) -> None:
        network.upscale_images(image_hwc, out_hwc, threads=contestant.threads)

    return run


def _static_openvino(file: Path, computes: Precision, threads: int, height: int, width: int) -> Pipeline:
    """OpenVINO's leanest: conversions in its own graph, one size, from memory to memory."""
    import openvino

    from repsr_deploy.runtimes.openvino_model import first_line, on_images, read_model

    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[computes],
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": "NO",  # the others of this process run on the same cores
    }
    try:
        model = on_images(read_model(file, file.name))
        model.reshape([1, height, width, 3])
        request = openvino.Core().compile_model(model, "CPU", properties).create_infer_request()
    except RuntimeError as error:
        raise RepsrError(f"OpenVINO cannot compile {file.name} for {width}x{height}: {first_line(error)}") from error

    def run(image_hwc: Image, out_hwc: Image) -> None:
        request.set_input_tensor(openvino.Tensor(image_hwc[None], shared_memory=True))
        request.set_output_tensor(openvino.Tensor(out_hwc[None], shared_memory=True))
        request.infer(share_outputs=True)

    return run
