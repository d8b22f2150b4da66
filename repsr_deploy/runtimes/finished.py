"""Pictures out of models that give features: skip, PixelShuffle, clamp and rounding in one pass, where features lie."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import numpy as np

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo, Skip
from repsr_deploy.runtimes.base import Batch, CheckedRuntime, Images, OnDevice, Runtime, output_shape
from repsr_kernels import cpu, reference
from repsr_kernels.operations import SCALES, FusedUpsample, Preprocess
from repsr_kernels.tensors import Tensor, on_host

log = logging.getLogger(__name__)


def finished(runtime: Runtime, *, threads: int | None = None) -> Runtime:
    """A runtime that gives pictures: of a model of io `features` one that finishes them, otherwise the same one.

    Args:
        threads: processor threads for what is done there; None for one per core.

    Raises:
        ModelFileError: features at a scale for which there is no kernel, or of values that no image has.
        RuntimeUnavailableError: features lie on a GPU that this process cannot use by itself.
        MemoryError: no GPU memory.
    """
    info = runtime.info
    if info.io != "features":
        return runtime
    check_range(info)
    if info.scale not in SCALES:
        raise ModelFileError(
            f"{info.name} gives features at scale {info.scale}, and kernels finish {', '.join(map(str, SCALES))}; "
            "expected one of these, or a model exported with --io float"
        )
    network = runtime.device_network() if isinstance(runtime, OnDevice) else None
    if network is None:
        return FinishedFeatures(runtime, threads)
    from repsr_deploy.runtimes.finished_gpu import FinishedOnGpu

    return FinishedOnGpu(runtime, network, threads)


def check_range(info: ModelInfo) -> None:
    """Refuse a model of other values than images have here.

    Raises:
        ModelFileError: says so.
    """
    if info.range != (0.0, 1.0):
        raise ModelFileError(f"{info.name} works on values in {info.range}; expected (0.0, 1.0)")


def broken_weights(info: ModelInfo, count: int) -> ModelFileError:
    """What to say of so many values that are NaN or infinite; the clamp would make black and white of them."""
    return ModelFileError(f"{info.name} gives NaN or infinity in {count} values of this image; its weights are broken")


class FinishedFeatures(CheckedRuntime):
    """A runtime of io `features` with the kernels, compiled for this processor, behind it.

    Args:
        runtime: of a model of io `features`; its `run` gives them to the host.
        threads: processor threads of the kernels.
    """

    native_images = True

    def __init__(self, runtime: Runtime, threads: int | None) -> None:
        self.name, self.precision, self.limits = runtime.name, runtime.precision, runtime.limits
        self.info = replace(runtime.info, io="float", skip="none")
        self._runtime, self._threads = runtime, threads
        self._skip: Skip = runtime.info.skip

    def _run(self, batch: Batch) -> Batch:
        picture_nchw = np.empty(output_shape(self.info, batch), np.float32)
        self._finish(self._runtime.run(batch), on_host(batch, "nchw"), on_host(picture_nchw, "nchw"))
        return picture_nchw

    def _run_images(self, images_nhwc: Images) -> Images:
        count, height, width, channels = images_nhwc.shape
        batch_nchw = np.empty((count, channels, height, width), np.float32)
        image = on_host(images_nhwc, "nhwc")
        execute(Preprocess(source=image, out=on_host(batch_nchw, "nchw")), self._threads)
        made_nhwc = np.empty(output_shape(self.info, images_nhwc), np.uint8)
        self._finish(self._runtime.run(batch_nchw), image, on_host(made_nhwc, "nhwc"))
        return made_nhwc

    def _finish(self, features_nchw: Batch, image: Tensor, out: Tensor) -> None:
        """Write the picture.

        Raises:
            ModelFileError: NaN or infinity among the features.
        """
        nonfinite = np.zeros(1, np.uint64)
        operation = FusedUpsample(
            features=on_host(features_nchw, "nchw"),
            image=None if self._skip == "none" else image,
            out=out,
            scale=self.info.scale,
            skip=self._skip,
            nonfinite=nonfinite.ctypes.data,
        )
        execute(operation, self._threads)
        if nonfinite[0]:
            raise broken_weights(self.info, int(nonfinite[0]))


def execute(operation: FusedUpsample | Preprocess, threads: int | None = None) -> None:
    """Do it on this processor: compiled, or where that cannot be, which a warning says, by the same bytes in NumPy."""
    if _is_compiled():
        cpu.run(operation, threads)
    else:
        reference.run(operation)


@cache
def _is_compiled() -> bool:
    """Whether the kernels can be compiled here."""
    try:
        cpu.library()
    except RuntimeUnavailableError as error:
        log.warning("features are finished in NumPy, which takes many times as long: %s", error)
        return False
    return True
