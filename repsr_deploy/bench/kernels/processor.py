"""The kernels' processor build against NumPy and OpenCV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.bandwidth import useful_bytes
from repsr_deploy.bench.kernels.usual import finish_image
from repsr_deploy.bench.kernels.ways import KERNEL, Timer, Way, Work, attempt, compare_ways
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_deploy.imaging.samples import planes_from
from repsr_deploy.model_info import Skip
from repsr_kernels.operations import FusedUpsample, Preprocess
from repsr_kernels.tensors import on_host

USUAL = "NumPy and OpenCV"
FEATURES = (-0.3, 0.7)
"""Values of the features: most of the picture is then within 0..1, with a skip and without, and some is clamped."""


def measure_upsampling(height: int, width: int, scale: int, *, where: str, threads: int, timer: Timer) -> list[Row]:
    """Every skip at one size and scale: float32 planes, as runtimes give them, to an 8-bit picture."""
    image_hwc = photograph_like(height, width)
    image_chw = planes_from(image_hwc)
    features_chw = random_features(height, width, scale)
    rows: list[Row] = []
    for skip in get_args(Skip):
        data = f"x{scale}, skip {skip}, fp32 planes to uint8"
        work = Work(where=where, what="fused_upsample", data=data, size=f"{width}x{height}")
        rows += compare_ways(work, _finishing(features_chw, image_hwc, image_chw, scale, skip, threads), timer)
    return rows


def _finishing(
    features_chw: NDArray[np.float32],
    image_hwc: NDArray[np.uint8],
    image_chw: NDArray[np.float32],
    scale: int,
    skip: Skip,
    threads: int,
) -> list[Way]:
    from repsr_kernels import cpu

    height, width = image_hwc.shape[:2]
    out_hwc, usual_hwc = np.zeros((2, height * scale, width * scale, 3), np.uint8)
    operation = FusedUpsample(
        features=on_host(features_chw, "nchw"),
        image=None if skip == "none" else on_host(image_hwc, "nhwc"),
        out=on_host(out_hwc, "nhwc"),
        scale=scale,
        skip=skip,
    )

    def kernel() -> NDArray[np.uint8]:
        cpu.run(operation, threads=threads)
        return out_hwc

    def usual() -> NDArray[np.uint8]:
        finish_image(features_chw, image_chw, scale, skip, usual_hwc)
        return usual_hwc

    return _verified(kernel, usual, useful_bytes(operation))


def measure_preprocessing(height: int, width: int, *, where: str, threads: int, timer: Timer) -> list[Row]:
    """An 8-bit picture to float32 planes in new memory, at one size."""
    from repsr_kernels import cpu

    image_hwc = photograph_like(height, width)

    def operation() -> tuple[Preprocess, NDArray[np.float32]]:
        planes = np.empty((3, height, width), np.float32)
        return Preprocess(source=on_host(image_hwc, "nhwc"), out=on_host(planes, "nchw")), planes

    def kernel() -> NDArray[np.float32]:
        whole, planes = operation()
        cpu.run(whole, threads=threads)
        return planes

    def usual() -> NDArray[np.float32]:
        return planes_from(image_hwc)

    work = Work(where=where, what="preprocess", data="uint8 to fp32 planes", size=f"{width}x{height}")
    return compare_ways(work, _verified(kernel, usual, useful_bytes(operation()[0])), timer)


def random_features(height: int, width: int, scale: int) -> NDArray[np.float32]:
    """What a network might give for a picture in three colours: float32 3 s s x H x W."""
    low, high = FEATURES
    features_chw = np.random.default_rng(0).random((3 * scale**2, height, width), dtype=np.float32)
    features_chw *= np.float32(high - low)
    features_chw += np.float32(low)
    return features_chw


def _verified(kernel: Callable[[], NDArray[Any]], usual: Callable[[], NDArray[Any]], moved: int) -> list[Way]:
    """Both ways, once their outputs are compared."""

    def compared() -> list[Way]:
        out, expected = kernel(), usual()
        out_db = psnr_db(out, expected)
        failure = why_wrong(out_db, "fp32", rounded=out.dtype == np.uint8)
        return [Way(by=KERNEL, run=kernel, verified_db=out_db, failure=failure, useful_bytes=moved)]

    return [*attempt([KERNEL], compared), Way(by=USUAL, run=usual, useful_bytes=moved)]
