"""Networks on a GPU that the pipeline is measured with: in every runtime that is here, and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsr_deploy.bench.kernels.steps import exported
from repsr_deploy.bench.kernels.torch_ways import why_no_torch
from repsr_deploy.bench.sources import Source
from repsr_deploy.errors import RuntimeUnavailableError
from repsr_deploy.model_info import Precision
from repsr_deploy.runtimes import ON_PROCESSORS, candidates, open_runtime
from repsr_deploy.runtimes.base import OnDevice

if TYPE_CHECKING:
    from repsr_deploy.nets.network import Network
    from repsr_kernels.gpu.pipeline import DeviceNetwork

PRECISIONS: tuple[Precision, ...] = ("fp16", "fp32")


@dataclass(frozen=True, kw_only=True)
class OnGpu:
    """A way to have a network there."""

    name: str
    precision: Precision
    open: Callable[[], AbstractContextManager[DeviceNetwork]]
    """Raises RepsrError where it cannot."""


def find_networks(source: Source, say: Callable[[str], None]) -> Iterator[OnGpu]:
    """Every way that can be tried on this machine.

    Raises:
        RepsrError, ModuleNotFoundError: the model cannot be exported.
    """
    for precision in PRECISIONS:
        file, info = exported(source, "features", precision, say)
        for one in candidates(info):
            if one.runtime not in ON_PROCESSORS:
                yield OnGpu(
                    name=one.runtime,
                    precision=one.precision,
                    open=partial(_of_runtime, file, one.runtime, one.precision),
                )
    if source.net is not None and not why_no_torch():
        yield OnGpu(name="pytorch", precision="fp16", open=partial(_of_pytorch, source.net))


@contextmanager
def _of_runtime(file: Path, runtime: str, precision: Precision) -> Generator[DeviceNetwork]:
    opened = open_runtime(file, runtime, precision=precision)
    network = opened.device_network() if isinstance(opened, OnDevice) else None
    if network is None:
        raise RuntimeUnavailableError(f"{runtime} cannot leave features on the GPU here; -v says why")
    yield network


@contextmanager
def _of_pytorch(net: Network) -> Generator[DeviceNetwork]:
    import torch

    from repsr_deploy.bench.kernels.features_module import FeaturesModule
    from repsr_kernels.gpu.pipeline.pytorch import TorchNetwork

    module: Any = FeaturesModule(net).to("cuda:0", torch.float16)
    module = module.to(memory_format=torch.channels_last)
    yield TorchNetwork(module, name=net.spec.name, scale=net.spec.scale, skip="nearest")
