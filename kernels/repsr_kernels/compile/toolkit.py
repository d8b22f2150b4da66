"""What the two compilers of CUDA, nvcc and NVRTC, have in common: which GPUs there are, what they are asked for."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from repsr_kernels.errors import RuntimeUnavailableError

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""GPUs that the kernels are checked for, as ten times their compute capability: Turing to Blackwell."""
FLAGS = ("-std=c++17", "-fmad=false")
"""Without contraction: the same bits as on processors."""


class Compiler(Protocol):
    """Makes images of kernels."""

    name: str
    """What people call it, with its version: `nvcc 13.0`."""
    toolkit: tuple[int, int]
    """Its version of CUDA; drivers of an older major version do not load what it makes."""
    identity: str
    """Tells it apart from every compiler that could make other images."""
    architectures: tuple[int, ...]
    """GPUs that it knows."""

    def compile(self, text: str, name: str, target: str) -> bytes:
        """The image of a text: machine code for a target `sm_89`, PTX for `compute_89`.

        Args:
            name: of the text in messages.

        Raises:
            CompileError: it refuses.
        """
        ...


def target_of(architecture: int, compiler: Compiler) -> str:
    """What to compile for a GPU: its own machine code, or PTX of the newest GPU before it that the compiler knows.

    Raises:
        RuntimeUnavailableError: it knows only newer ones.
    """
    return target_among(architecture, compiler.architectures, compiler.name)


def target_among(architecture: int, known: Collection[int], compiler: str) -> str:
    """As `target_of`."""
    if architecture in known:
        return f"sm_{architecture}"
    older = [other for other in known if other < architecture]
    if not older:
        raise RuntimeUnavailableError(
            f"{compiler} does not know GPUs as old as compute capability {architecture / 10}; expected one from "
            f"{min(known) / 10} on, or an older CUDA toolkit"
        )
    return f"compute_{max(older)}"


def toolkit_folders() -> list[Path]:
    """Where CUDA toolkits may lie: what `CUDA_HOME`, `CUDA_PATH` and `CUDA_ROOT` name."""
    named = (os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"))
    return [Path(folder) for folder in named if folder]
