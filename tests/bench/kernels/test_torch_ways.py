"""PyTorch's way computes the same picture: shown on a processor, in the types that it is timed in on a GPU."""

from __future__ import annotations

import pytest
import torch

from repsr_deploy.bench.kernels.device_cases import (
    PREPARATIONS,
    UPSAMPLINGS,
    Preparation,
    Upsampling,
    preparation_operation,
    upsampling_operation,
)
from repsr_deploy.bench.kernels.device_memory import carry_out
from repsr_deploy.bench.kernels.processor import random_features
from repsr_deploy.bench.kernels.torch_ways import (
    TorchWork,
    judged,
    preparation_in_torch,
    upsampling_in_torch,
    why_no_torch,
)
from repsr_deploy.bench.pictures import photograph_like
from repsr_deploy.imaging.samples import planes_from
from repsr_kernels.tensors import Tensor

HEIGHT, WIDTH = 33, 45


def upsampling_work(case: Upsampling) -> TorchWork | None:
    image_hwc, features_chw = photograph_like(HEIGHT, WIDTH), random_features(HEIGHT, WIDTH, 2)
    operation = upsampling_operation(case, features_chw, image_hwc, 2)
    carry_out(operation)
    return upsampling_in_torch(case, operation, features_chw, planes_from(image_hwc))


@pytest.mark.parametrize("case", UPSAMPLINGS, ids=lambda case: case.data(2))
def test_upsampling(case: Upsampling) -> None:
    work = upsampling_work(case)
    if case.target in ("NV12", "P010"):
        assert work is None
        return
    assert work is not None
    features, image = work.tensors("cpu")
    assert features.is_contiguous(memory_format=torch.channels_last) == (case.layout == "nhwc")
    output = work.function(features, image)
    failure, output_db = judged(output, work)
    assert not failure
    assert output_db > 45
    assert judged(output.roll(1, 1), work)[0]


@pytest.mark.parametrize("case", PREPARATIONS, ids=lambda case: case.data)
def test_preparation(case: Preparation) -> None:
    image_hwc = photograph_like(HEIGHT, WIDTH)
    operation = preparation_operation(case, image_hwc)
    carry_out(operation)
    work = preparation_in_torch(case, operation, image_hwc)
    if case.source == "NV12":
        assert work is None
        return
    assert work is not None
    assert isinstance(operation.out, Tensor)
    output = work.function(*work.tensors("cpu"))
    assert output.is_contiguous(memory_format=torch.channels_last) == (case.layout == "nhwc")
    assert not judged(output, work)[0]
    assert judged(output.flip(1), work)[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch has a GPU")
def test_without_a_gpu_it_says_so() -> None:
    assert "finds no GPU" in why_no_torch()
