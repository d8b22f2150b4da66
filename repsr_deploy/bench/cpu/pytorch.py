"""The same network in PyTorch, from 8 bits to 8 bits: eager or compiled, in fp32 or under autocast to bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repsr_deploy.errors import RepsrError
from repsr_deploy.export.compact import compact_names, to_compact
from repsr_deploy.model_info import Precision
from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import StackSpec


class PyTorchPipeline:
    """A plain network with a nearest skip.

    Args:
        file: its fp32 .onnx file.
        computes: fp32, or bf16, which is autocast.
        threads: of PyTorch, which stay those of the process.
        channels_last: keep tensors as N x H x W x C in memory, as the picture is.
        compiled: by torch.compile, for the size that comes first.

    Raises:
        FoldError: it has another skip, or layers of other kinds.
    """

    def __init__(self, file: Path, computes: Precision, threads: int, *, channels_last: bool, compiled: bool) -> None:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self._net: Any = _BytesToBytes(plain_network(file), layout).eval()
        self._compiled = compiled
        if compiled:
            self._net = torch.compile(self._net, dynamic=False)
        self._threads, self._short = threads, computes == "bf16"

    def __call__(self, image_hwc: NDArray[np.uint8], out_hwc: NDArray[np.uint8]) -> None:
        if torch.get_num_threads() != self._threads:  # of the process, and to change it takes time
            torch.set_num_threads(self._threads)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self._short):
            try:
                made_hwc: Tensor = self._net(torch.from_numpy(image_hwc))
            except Exception as error:  # the compiler's errors share no base class
                if not self._compiled:
                    raise
                raise RepsrError(f"torch.compile failed: {str(error).splitlines()[0]}") from error
            torch.from_numpy(out_hwc).copy_(made_hwc)


class _BytesToBytes(nn.Module):
    """H x W x 3 to sH x sW x 3, rounded half to even."""

    def __init__(self, net: nn.Module, layout: torch.memory_format) -> None:
        super().__init__()
        self._layout = layout
        self._net = net.to(memory_format=layout)  # type: ignore[call-overload]

    def forward(self, image_hwc: Tensor) -> Tensor:
        batch_nchw = image_hwc.permute(2, 0, 1)[None].to(torch.float32).contiguous(memory_format=self._layout) / 255
        made_chw = self._net(batch_nchw)[0].to(torch.float32)
        return (made_chw.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)


def plain_network(file: Path) -> nn.Module:
    """The network of an .onnx file, float32.

    Raises:
        FoldError: it is no plain network with a nearest skip and all layers equally wide.
    """
    tensors = to_compact(ir.load(file))
    convolutions = [value for key, value in tensors.items() if key.endswith(".weight") and value.ndim == 4]
    colours, channels = convolutions[0].shape[1], convolutions[0].shape[0]
    scale = round((convolutions[-1].shape[0] / colours) ** 0.5)
    blocks = len(convolutions) - 2
    spec = StackSpec(
        family="plain", scale=scale, blocks=blocks, channels=channels, colour="rgb" if colours == 3 else "y"
    )
    net = build(spec)
    net.load_state_dict({ours: tensors[theirs] for theirs, ours in compact_names(blocks).items()})
    return net.float()
