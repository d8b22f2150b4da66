"""How an engine is to be built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes.tensorrt.shapes import DEFAULT_SHAPES, Shapes

Flavour = Literal["tensorrt", "tensorrt-rtx"]
"""TensorRT 10 or 11, whose engines belong to one kind of GPU, or TensorRT for RTX, which finishes portable engines
where they run."""
Hardware = Literal["this", "same-compute-capability", "ampere+"]
LEVELS = range(6)
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What may be chosen; the precision may not: the graph's own types decide it.

    Raises:
        UsageError: a value that no TensorRT knows.
    """

    shapes: Shapes = DEFAULT_SHAPES
    level: int = 3
    """Effort of the search for kernels, 0 (fast build) to 5 (fast engine), which can take hours for a large network."""
    workspace_bytes: int | None = None
    """GPU memory for scratch space at most; None for all that the GPU has."""
    tf32: bool = False
    """Let float32 convolutions round their operands to TF32 (10 bits) on Ampere and later: faster, no longer fp32."""
    hardware: Hardware = "this"
    """TensorRT: GPUs other than the one that builds; costs speed."""
    version_compatible: bool = False
    """TensorRT: the engine also loads in later versions of the same major; costs speed."""
    compute_capabilities: tuple[str, ...] = ()
    """TensorRT for RTX: GPUs to build for, such as 8.9, or `current`; none for 8.0, 8.6, 8.9, 12.0 and later."""
    timing_cache: Path | None = None
    """TensorRT: file with measured kernel times, which makes the next build faster; None for one in the user's cache
    folder. It is no part of what makes an engine this engine: the same kernels are found, sooner."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UsageError(f"builder level is {self.level}; expected {LEVELS[0]} to {LEVELS[-1]}")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise UsageError(f"workspace is {self.workspace_bytes} bytes; expected at least 1, or none for no limit")
        if self.hardware not in get_args(Hardware):
            raise UsageError(f"hardware is {self.hardware!r}; expected one of {', '.join(get_args(Hardware))}")
        unknown = set(self.compute_capabilities) - {*RTX_CAPABILITIES, "current"}
        if unknown or ("current" in self.compute_capabilities and len(self.compute_capabilities) > 1):
            raise UsageError(
                f"compute capabilities are {', '.join(self.compute_capabilities)}; expected some of "
                f"{', '.join(RTX_CAPABILITIES)}, or `current` alone"
            )

    def check_for(self, flavour: Flavour) -> None:
        """Refuse options of the other flavour, which would have no effect.

        Raises:
            UsageError: names the option.
        """
        if flavour == "tensorrt" and self.compute_capabilities:
            raise UsageError("compute capabilities are an option of tensorrt-rtx; for tensorrt say `hardware`")
        if flavour == "tensorrt-rtx":
            for name, given in (
                ("hardware", self.hardware != "this"), ("version_compatible", self.version_compatible),
                ("timing_cache", self.timing_cache is not None),
            ):  # fmt: skip
                if given:
                    raise UsageError(f"{name} is an option of tensorrt; tensorrt-rtx has none such, leave it out")
