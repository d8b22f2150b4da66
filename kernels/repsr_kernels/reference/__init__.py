"""What the operations mean, in NumPy: slow, short, and what all that is fast is compared with."""

from __future__ import annotations

from repsr_kernels.operations import FusedUpsample, Preprocess


def run(operation: FusedUpsample | Preprocess) -> None:
    """Do it, in the memory of the host.

    Raises:
        UsageError: its tensors lie in the memory of a GPU.
    """
    if isinstance(operation, FusedUpsample):
        from repsr_kernels.reference.upsample import upsample

        upsample(operation)
    else:
        from repsr_kernels.reference.preprocess import preprocess

        preprocess(operation)
