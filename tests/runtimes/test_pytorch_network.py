"""PyTorch modules in the pipeline, against the same on the processor. Not yet run: no machine of ours has a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from repsr_kernels.gpu.context import load_pycuda
from repsr_kernels.gpu.driver import why_no_device
from repsr_kernels.tensors import Type

pytestmark = pytest.mark.gpu

DTYPES: dict[Type, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("kind", DTYPES)
def test_pictures(kind: Type, channels_last: bool) -> None:
    if reason := why_no_device():
        pytest.skip(f"no GPU: {reason}")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch knows no CUDA")
    try:
        load_pycuda()
    except ImportError as error:
        pytest.skip(f"no PyCUDA: {error}")
    from repsr_kernels.gpu.pipeline import GpuPipeline
    from repsr_kernels.gpu.pipeline.pytorch import TorchNetwork

    torch.manual_seed(0)
    on_host = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 12, 1))
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 12, 1))
    module.load_state_dict(on_host.state_dict())
    module = module.to("cuda:0", DTYPES[kind])
    network = TorchNetwork(module, name="m", scale=2, skip="nearest", type=kind, channels_last=channels_last)
    with GpuPipeline(network) as pipeline:
        for seed, (height, width) in enumerate([(31, 44), (20, 20), (31, 44), (31, 44)]):
            image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
            x_nchw = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
            with torch.inference_mode():
                features = on_host(x_nchw) + x_nchw.repeat_interleave(4, dim=1)
            expected = torch.pixel_shuffle(features, 2).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
            made: Any = pipeline.run(image)
            assert np.abs(made - expected).max() <= {"fp32": 0.6, "fp16": 1.6, "bf16": 6}[kind]
