"""NVIDIA's compiler as a program, of an installed CUDA toolkit."""

from __future__ import annotations

import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.program import CompileError, answer, run
from repsr_kernels.compile.toolkit import FLAGS, toolkit_folders
from repsr_kernels.errors import RuntimeUnavailableError

_USUAL = Path("/usr/local/cuda/bin/nvcc")


class Nvcc:
    """An nvcc that was found; a `toolkit.Compiler`."""

    def __init__(self, program: str) -> None:
        self.program = program
        said = answer(program, "--version")
        release = re.search(r"release (\d+)\.(\d+)", said)
        if release is None:
            raise CompileError(f"{program} --version does not say which release it is: {said.strip()[:200]}")
        self.toolkit = int(release[1]), int(release[2])
        self.name = f"nvcc {release[1]}.{release[2]}"
        self.identity = f"{program} {said}"
        known = re.findall(r"^compute_(\d+)\s*$", answer(program, "--list-gpu-arch"), re.MULTILINE)
        self.architectures = tuple(sorted(map(int, known)))

    def compile(self, text: str, name: str, target: str) -> bytes:
        """As `toolkit.Compiler.compile`."""
        with tempfile.TemporaryDirectory(prefix="repsr-nvcc-") as folder:
            source, image = Path(folder) / f"{name[:100]}.cu", Path(folder) / "image"
            source.write_text(text)
            kind = "-cubin" if target.startswith("sm_") else "-ptx"
            run([self.program, *FLAGS, kind, f"-arch={target}", f"-I{CSRC}", "-o", str(image), str(source)])
            return image.read_bytes()


def find_nvcc() -> str:
    """The program: of the toolkit that the environment names, on `PATH`, or where toolkits usually lie.

    Raises:
        RuntimeUnavailableError: there is none.
    """
    places = [str(folder / "bin" / "nvcc") for folder in toolkit_folders()]
    for place in (*places, "nvcc", str(_USUAL)):
        if found := shutil.which(place):
            return found
    raise RuntimeUnavailableError(
        f"no nvcc: none in {', '.join([*places, 'PATH', str(_USUAL.parent)])}; install a CUDA toolkit, or set CUDA_HOME"
    )


def nvcc() -> Nvcc:
    """The nvcc of this machine.

    Raises:
        RuntimeUnavailableError: there is none, or it does not work.
    """
    return _nvcc(find_nvcc())


@cache
def _nvcc(program: str) -> Nvcc:
    return Nvcc(program)
