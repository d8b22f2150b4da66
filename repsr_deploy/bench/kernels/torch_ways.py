"""The work of the kernels in PyTorch on a GPU: one operation after the other, and what `torch.compile` makes of them.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.device_cases import FLOATS, Preparation, Upsampling, as_float32
from repsr_deploy.bench.kernels.device_clock import DeviceClock
from repsr_deploy.bench.kernels.ways import Way
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_deploy.model_info import Precision, Skip
from repsr_kernels.operations import FusedUpsample, Preprocess
from repsr_kernels.tensors import Layout, Tensor

UNFUSED, COMPILED = "PyTorch", "torch.compile"
WARMUP = 3
"""Runs before a recording: libraries are loaded, and kernels compiled, by the first."""


def why_no_torch() -> str:
    """Why PyTorch cannot take part; empty where it can."""
    try:
        import torch
    except ImportError as error:
        return f"PyTorch is not installed ({error})"
    return "" if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no GPU that it can use"


@dataclass(frozen=True, kw_only=True)
class TorchWork:
    """A function of tensors, and what it is run on."""

    function: Callable[..., Any]
    arrays: tuple[NDArray[Any], ...]
    """Of the host; floats are rounded to `precision` on the way."""
    layout: Layout = "nchw"
    expected: NDArray[Any]
    """What it should give."""
    precision: Precision

    def tensors(self, device: str) -> tuple[Any, ...]:
        """The arrays in memory of their own."""
        import torch

        def moved(array: NDArray[Any]) -> Any:
            tensor = torch.from_numpy(array).to(device)
            if array.dtype == np.uint8:
                return tensor
            layout = torch.channels_last if self.layout == "nhwc" else torch.contiguous_format
            return tensor.to(_dtype(self.precision)).contiguous(memory_format=layout)

        return tuple(map(moved, self.arrays))


def upsampling_in_torch(
    case: Upsampling,
    operation: FusedUpsample,
    features_chw: NDArray[np.float32],
    image_chw: NDArray[np.float32],
) -> TorchWork | None:
    """What people write behind a network, in the features' type; None for video frames.

    Args:
        operation: already carried out, on the host.
        image_chw: as the network saw it, 0..1.
    """
    if not isinstance(operation.out, Tensor):
        return None
    out_nchw, to_bytes = operation.out.numpy(), case.target == "uint8"
    return TorchWork(
        function=finishing(operation.scale, case.skip, to_bytes),
        arrays=(features_chw[None], image_chw[None]),
        layout=case.layout,
        expected=out_nchw.transpose(0, 2, 3, 1) if to_bytes else as_float32(out_nchw, case.type),
        precision=FLOATS[case.type],
    )


def preparation_in_torch(case: Preparation, operation: Preprocess, image_hwc: NDArray[np.uint8]) -> TorchWork | None:
    """What people write before a network; None for video frames."""
    if case.source != "uint8":
        return None
    return TorchWork(
        function=preparing(FLOATS[case.type], case.layout),
        arrays=(image_hwc[None],),
        expected=as_float32(operation.out.numpy(), case.type),
        precision=FLOATS[case.type],
    )


def finishing(scale: int, skip: Skip, to_bytes: bool) -> Callable[..., Any]:
    """Features 1 x C s s x H x W and the network's input become 1 x sH x sW x C of uint8, or planes of floats."""
    import torch
    import torch.nn.functional as F

    def finish(features_nchw: Any, image_nchw: Any) -> Any:
        picture = F.pixel_shuffle(features_nchw, scale)
        if skip != "none":
            picture = picture + F.interpolate(image_nchw, scale_factor=scale, mode=skip)
        picture = picture.clamp(0, 1)
        return (picture * 255).round().permute(0, 2, 3, 1).to(torch.uint8).contiguous() if to_bytes else picture

    return finish


def preparing(precision: Precision, layout: Layout) -> Callable[..., Any]:
    """uint8 1 x H x W x C becomes 1 x C x H x W in 0..1."""
    import torch

    memory_format = torch.channels_last if layout == "nhwc" else torch.contiguous_format

    def prepare(image_nhwc: Any) -> Any:
        return (image_nhwc.permute(0, 3, 1, 2).to(_dtype(precision)) / 255).contiguous(memory_format=memory_format)

    return prepare


def torch_ways(work: TorchWork, clock: DeviceClock, *, sets: int, launches: int, moved: int) -> list[Way]:
    """PyTorch's operations and their compiled form, verified and recorded as CUDA graphs; what fails says why."""
    reason = why_no_torch()
    if reason:
        return [Way(by=by, failure=reason) for by in (UNFUSED, COMPILED)]
    import torch

    stream: Any = torch.cuda.ExternalStream(clock.stream.handle)
    torch.compiler.reset()  # after eight variants of one function it would compile no more, and only warn
    with torch.inference_mode(), torch.cuda.stream(stream):
        made = [work.tensors("cuda") for _ in range(sets)]
        found: list[Way] = []
        for by, function in ((UNFUSED, work.function), (COMPILED, torch.compile(work.function, dynamic=False))):
            try:
                failure, out_db = judged(function(*made[0]), work)
                run = _recorded(function, made, clock, stream, launches)
            except (RuntimeError, ImportError) as error:  # out of memory, no compiler: PyTorch has many names for it
                found.append(Way(by=by, failure=f"{type(error).__name__}: {_beginning(error)}"))
            else:
                found.append(Way(by=by, run=run, verified_db=out_db, failure=failure, useful_bytes=moved))
    return found


def _beginning(error: Exception) -> str:
    """Two lines: the first of a compiler's errors says only whose it is."""
    return " ".join(filter(None, map(str.strip, str(error).splitlines()[:2])))


def judged(output: Any, work: TorchWork) -> tuple[str, float]:
    """Why an output is wrong, or an empty text, and its PSNR in dB to what is expected."""
    import torch

    array = (output if output.dtype == torch.uint8 else output.float()).cpu().numpy()
    output_db = psnr_db(array, work.expected)
    return why_wrong(output_db, work.precision, rounded=array.dtype == np.uint8), output_db


def _recorded(
    function: Callable[..., Any], made: list[tuple[Any, ...]], clock: DeviceClock, stream: Any, launches: int
) -> Callable[[], float]:
    """What gives the seconds of one run."""
    import torch

    for index in range(WARMUP):
        function(*made[index % len(made)])
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    kept: list[Any] = [None] * len(made)  # or all runs would write to the same memory
    with torch.cuda.graph(graph, stream=stream):
        for index in range(launches):
            kept[index % len(made)] = function(*made[index % len(made)])

    def replay() -> None:
        with torch.cuda.stream(stream):
            graph.replay()

    return lambda: clock.seconds(replay, launches)


def _dtype(precision: Precision) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
