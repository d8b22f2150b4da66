"""Processors: the network engine (`network`), and the kernels' operations compiled for this machine (`operations`)."""

from __future__ import annotations

from repsr_kernels.cpu.operations import library, run

__all__ = ["library", "run"]
