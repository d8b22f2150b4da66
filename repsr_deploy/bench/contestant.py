"""Who takes part in a measurement: a file, opened by one runtime in one precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import Runtime, open_runtime
from repsr_deploy.runtimes.finished import finished

Form = Literal["folded", "branches", "as it is"]
"""Of a checkpoint, and of the bundled models; a file that is given is measured `as it is`."""
PYTORCH, CHANNELS_LAST = "pytorch", "pytorch-channels-last"
"""Runtimes beside the backends: the two memory layouts of PyTorch."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One row for each shape and batch."""

    model: str
    """As the user named it."""
    form: Form
    file: Path
    """A model that the runtime opens; for PyTorch the checkpoint."""
    stored: Precision
    """Of the file."""
    runtime: str
    computes: Precision
    """What the runtime computes in."""

    def open(self, threads: int) -> Runtime:
        """Load the file; of features, the kernels behind it count as part of it.

        Raises:
            RepsrError: the runtime cannot.
        """
        if self.runtime not in (PYTORCH, CHANNELS_LAST):
            runtime = open_runtime(self.file, self.runtime, threads=threads, precision=self.computes)
            return finished(runtime, threads=threads)
        from repsr_deploy.bench.pytorch import PyTorchRuntime
        from repsr_deploy.checkpoint import load_checkpoint
        from repsr_deploy.folding.fold import folded

        net = load_checkpoint(self.file)[0]
        chosen = folded(net) if self.form == "folded" else net
        return PyTorchRuntime(chosen, threads, channels_last=self.runtime == CHANNELS_LAST)

    @property
    def key(self) -> dict[str, str]:
        """Its part of a row's key."""
        return {
            "model": self.model,
            "network": self.form,
            "runtime": self.runtime,
            "file": self.stored,
            "computes": self.computes,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for another process."""
        return {**asdict(self), "file": str(self.file)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Contestant:
        """The inverse of `to_dict`."""
        values: dict[str, Any] = {**content, "file": Path(content["file"])}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Everything that must give the same picture."""

    info: ModelInfo
    """Of the reference."""
    reference: Path
    """The fp32 model that ONNX Runtime runs for comparison."""
    contestants: tuple[Contestant, ...]
    macs_per_lr_pixel: Mapping[Form, float]
    """Multiply-adds of convolutions and matrix products for each LR pixel, by form; empty where not known."""


def native_batch(info: ModelInfo, images_nhwc: NDArray[np.uint8]) -> NDArray[Any]:
    """Images N x H x W x C as the model takes them: as they are for io `image`, else float32 N x C x H x W in 0..1."""
    if info.io == "image":
        return images_nhwc
    return np.ascontiguousarray(images_nhwc.transpose(0, 3, 1, 2), np.float32) / np.float32(255)


def run_native(runtime: Runtime, batch: NDArray[Any]) -> NDArray[Any]:
    """One run on a `native_batch`: what is timed."""
    return runtime.run_images(batch) if runtime.info.io == "image" else runtime.run(batch)
