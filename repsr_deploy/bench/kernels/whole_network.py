"""A whole network in one kernel on a GPU: the time for a picture, verified.

Not yet measured on a GPU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.bench.kernels.device import COPY, Card
from repsr_deploy.bench.kernels.device_clock import launches_for
from repsr_deploy.bench.kernels.device_memory import sets_beyond_cache
from repsr_deploy.bench.kernels.ways import KERNEL, Timer, Way, Work, attempt, compare_ways
from repsr_deploy.bench.report import Row
from repsr_deploy.bench.verify import psnr_db, why_wrong
from repsr_kernels.fused_network.launch import prepare, upload
from repsr_kernels.fused_network.operation import FusedNetwork
from repsr_kernels.fused_network.weights import NetworkWeights
from repsr_kernels.gpu.pipeline.stages import named_errors
from repsr_kernels.tensors import on_host


def measure_network(
    card: Card,
    work: Work,
    weights: NetworkWeights,
    picture_hwc: NDArray[np.uint8],
    expected_hwc: NDArray[np.uint8],
    timer: Timer,
) -> list[Row]:
    """The kernel, and a copy of as many bytes as picture and result have: what it would take if nothing was computed.

    Args:
        expected_hwc: what ONNX Runtime makes of the picture in fp32.
    """
    moved = picture_hwc.nbytes + expected_hwc.nbytes
    sets = sets_beyond_cache(moved, card.cache_bytes)
    launches = launches_for(moved, sets, card.most_launches)
    made_hwc = np.zeros_like(expected_hwc)

    def kernel() -> list[Way]:
        placed = upload(weights)
        with named_errors(card.cuda, KERNEL):
            pairs = [
                (card.memory.copy(on_host(picture_hwc, "nhwc")), card.memory.copy(on_host(made_hwc, "nhwc")))
                for _ in range(sets)
            ]
        prepared = [prepare(FusedNetwork(network=placed, image=image, out=out)) for image, out in pairs]
        prepared[0].enqueue(card.clock.stream)
        with named_errors(card.cuda, KERNEL):
            card.clock.stream.synchronize()
            card.cuda.memcpy_dtoh(made_hwc, pairs[0][1].address)
        made_db = psnr_db(made_hwc, expected_hwc)
        failure = why_wrong(made_db, "fp16", rounded=True)
        if failure:
            return [Way(by=KERNEL, verified_db=made_db, failure=failure)]
        return [card.way(KERNEL, lambda i: prepared[i % sets].enqueue(card.clock.stream), moved, launches, made_db)]

    ways = [*attempt([KERNEL], kernel), *attempt([COPY], lambda: [card.copying(moved, sets, launches)])]
    try:
        return compare_ways(work, ways, timer)
    finally:
        card.clock.forget()
