"""What kernels take of a GPU: registers, and memory that they need because registers did not suffice."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_kernels.compile.cache import CSRC, Entry, cached, key_of, texts_in
from repsr_kernels.compile.nvcc import Nvcc
from repsr_kernels.compile.program import run
from repsr_kernels.compile.toolkit import FLAGS
from repsr_kernels.errors import RepsrError
from repsr_kernels.variants import Variant

_KERNEL = re.compile(r"Compiling entry function '(?P<kernel>\w+)' for '(?P<target>\w+)'")
_STACK = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
)
_REGISTERS = re.compile(r"Used (?P<registers>\d+) registers")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Of one kernel on one GPU, per thread."""

    kernel: str
    target: str
    """`sm_89`"""
    registers: int
    stack_bytes: int
    """Of arrays that are indexed by what is known at run time only, and of what is spilled."""
    spilled_bytes: int
    """Written to memory and read back, for lack of registers."""

    @property
    def fits(self) -> bool:
        """Whether registers hold everything."""
        return self.stack_bytes == self.spilled_bytes == 0


def resources_of(
    variants: Sequence[Variant], architecture: int, nvcc: Nvcc, *, flags: Sequence[str] = ()
) -> list[Resources]:
    """What ptxas says about each of these variants, compiled together for one GPU; from the cache if it did before.

    Raises:
        CompileError: nvcc refuses.
        RepsrError: ptxas does not say it of every variant; or the cache folder cannot be written to.
    """
    text = "\n".join(_alone(variant) for variant in variants)
    key = key_of(nvcc.identity, architecture, text, FLAGS, flags, texts_in([CSRC], (".cu", ".cuh")))
    entry = Entry(prefix=f"resources-sm_{architecture}", key=key, suffix=".txt")

    def make(path: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="repsr-nvcc-") as folder:
            source = Path(folder) / "kernels.cu"
            source.write_text(text)
            asked = [*FLAGS, *flags, f"-arch=sm_{architecture}", "-Xptxas", "-v", f"-I{CSRC}"]
            result = str(Path(folder) / "kernels.cubin")
            path.write_text(run([nvcc.program, *asked, "-cubin", "-o", result, str(source)]))

    cached(entry, make)
    found = {each.kernel: each for each in parsed((entry.content() or b"").decode())}
    if found.keys() != {variant.name for variant in variants}:
        raise RepsrError(f"ptxas told the resources of {len(found)} kernels; expected {len(variants)}")
    return [found[variant.name] for variant in variants]


def parsed(said: str) -> Iterator[Resources]:
    """The kernels in what `ptxas -v` prints.

    Raises:
        RepsrError: something is missing of a kernel.
    """
    heads = list(_KERNEL.finditer(said))
    for head, behind in zip(heads, [*heads[1:], None], strict=True):
        part = said[head.end() : behind.start() if behind else len(said)]
        stack, registers = _STACK.search(part), _REGISTERS.search(part)
        if stack is None or registers is None:
            raise RepsrError(f"ptxas does not tell all resources of {head['kernel']}: {part.strip()[:200]!r}")
        yield Resources(
            kernel=head["kernel"],
            target=head["target"],
            registers=int(registers["registers"]),
            stack_bytes=int(stack["stack"]),
            spilled_bytes=int(stack["stores"]) + int(stack["loads"]),
        )


def _alone(variant: Variant) -> str:
    """A variant's text, whatever constants stand before it in a file."""
    defined = re.findall(r"^#define (\w+)", variant.text, re.MULTILINE)
    return "".join(f"#undef {name}\n" for name in defined) + variant.text
