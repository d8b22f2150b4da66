"""The kernels and the pipeline on a GPU against other ways of doing the same: `repsr-bench kernels`."""

from __future__ import annotations

from typing import Literal

On = Literal["auto", "processor", "gpu"]
"""What to measure on; `auto` is the processor, and the GPU where there is one."""
