"""From the texts in `csrc` to what runs: libraries for this processor, images for GPUs, each compiled once.

`python -m repsr_kernels.compile` compiles images ahead of time.
"""

from repsr_kernels.compile.image import Image, compile_ahead, compiled

__all__ = ["Image", "compile_ahead", "compiled"]
