"""PyTorch modules as the pipeline drives them: on its stream, their tensors used where they are.

Not yet measured on a GPU.
"""

from __future__ import annotations

from typing import Any

from repsr_kernels.errors import UsageError
from repsr_kernels.gpu.driver import CudaError, CudaMemoryError
from repsr_kernels.gpu.pipeline.networks import NetworkLane, Shape
from repsr_kernels.operations import Skip
from repsr_kernels.tensors import Tensor, Type

_WARM_UP = 3  # runs before a graph is recorded: libraries choose their kernels and take their memory meanwhile


class TorchNetwork:
    """A module from N x C x H x W to features (`networks.DeviceNetwork`).

    Args:
        module: on the first GPU, in the type of `type`; gives N x C s^2 x H x W, in channels-last memory or not.
        channels_last: whether the input lies so, which PyTorch's convolutions of half precision are fastest with.
        skip, range: as `FusedUpsample`'s.
    """

    def __init__(
        self,
        module: Any,
        *,
        name: str,
        scale: int,
        skip: Skip,
        channels: int = 3,
        range: tuple[float, float] = (0.0, 1.0),  # noqa: A002 # the protocol's word
        type: Type = "fp16",  # noqa: A002
        channels_last: bool = True,
    ) -> None:
        self.skip: Skip = skip
        self.name, self.scale, self.channels, self.range = name, scale, channels, range
        self._type: Type = type
        self._module, self._channels_last = module, channels_last

    def lane(self, stream: int) -> NetworkLane:
        """See `DeviceNetwork.lane`."""
        return TorchLane(self._module, self._type, stream, channels_last=self._channels_last)

    def release(self) -> None:
        """See `DeviceNetwork.release`: the module is the caller's."""


class TorchLane:
    """See `NetworkLane`. For each shape PyTorch records a CUDA graph, whose memory does not move."""

    capturable = False  # a graph of PyTorch's own is launched, which no recording takes up

    def __init__(self, module: Any, kind: Type, stream: int, *, channels_last: bool) -> None:
        import torch

        types: dict[Type, Any] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        if kind not in types:
            raise UsageError(f"a PyTorch network computes in {', '.join(types)}, not in {kind}")
        self._torch: Any = torch
        self._module, self._dtype = module, types[kind]
        self._kinds: dict[Any, Type] = {dtype: name for name, dtype in types.items()}
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._stream: Any = torch.cuda.ExternalStream(stream, device="cuda:0")
        self._graph: Any = None
        self._given: Any = None
        self._features: Any = None

    def prepare(self, shape: Shape) -> tuple[Tensor, Tensor]:
        """See `NetworkLane.prepare`."""
        torch = self._torch
        if self._given is None or tuple(self._given.shape) != shape:
            self.close()
            try:
                with torch.inference_mode(), torch.cuda.stream(self._stream):
                    self._record(torch.zeros(shape, dtype=self._dtype, device="cuda:0"))
            except torch.cuda.OutOfMemoryError as error:
                self.close()
                raise CudaMemoryError(f"PyTorch has no GPU memory for a batch of shape {shape}: {error}") from error
            except RuntimeError as error:
                self.close()
                raise CudaError(f"PyTorch cannot run the network on a batch of shape {shape}: {error}") from error
        return self._placed(self._given), self._placed(self._features)

    def enqueue(self) -> None:
        """See `NetworkLane.enqueue`."""
        with self._torch.cuda.stream(self._stream):
            self._graph.replay()

    def close(self) -> None:
        """See `NetworkLane.close`."""
        self._graph = self._given = self._features = None

    def _record(self, given: Any) -> None:
        torch = self._torch
        self._given = given.contiguous(memory_format=self._format)
        for _ in range(_WARM_UP):
            self._module(self._given)
        self._graph = torch.cuda.CUDAGraph()
        # other threads may take memory meanwhile
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._features = self._module(self._given)

    def _placed(self, tensor: Any) -> Tensor:
        kind = self._kinds.get(tensor.dtype)
        if kind is None or tensor.dim() != 4:
            raise UsageError(f"the module gives {tensor.dtype} of shape {tuple(tensor.shape)}; expected N x C x H x W")
        strides = tuple(tensor.stride())
        return Tensor(tensor.data_ptr(), kind, tuple(tensor.shape), strides, device=tensor.device.index, owner=tensor)
