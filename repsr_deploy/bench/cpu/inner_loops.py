"""What a processor does in the engine's inner loops, counted in the library's instructions as `objdump` lists them.

Nothing is run, so that it works for every instruction set; `callgrind` knows none beyond AVX2.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import RepsrError

PEAK = re.compile(r"\bspin\b")
"""What measures the instruction alone is no part of a network."""
DOT_PRODUCTS = re.compile(r"v(dpbf16ps|pdpbusd|fmadd\d+ps|pmaddwd)|(bfdot|[us]+dot|fmla)")
"""Instructions that multiply and add vectors, x86-64 and Arm."""
_FUNCTION = re.compile(r"([0-9a-f]+) <(.+)>:")
_JUMP = re.compile(r"(j\w+|b\.?\w*|cbn?z|tbn?z)$")
_PREFIX = re.compile(r"\t(\{e?vex\}|bnd|rep) ")


@dataclass(frozen=True, kw_only=True)
class InnerLoop:
    """A loop without one inside."""

    function: str
    dot_product: str
    """Mnemonic and register: `vdpbf16ps zmm`."""
    dot_products: int
    """Of one trip."""
    instructions: int

    @property
    def share(self) -> float:
        """Of dot products among the instructions."""
        return self.dot_products / self.instructions


def library_loops(library: Path) -> list[InnerLoop]:
    """The inner loops of a library that have dot products, the longest first.

    Raises:
        RepsrError: there is no `objdump` here, or it cannot read the library.
    """
    program = shutil.which("objdump")
    if program is None:
        raise RepsrError("objdump is not installed; expected that of binutils")
    command = [program, "-d", "-C", "--no-show-raw-insn", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RepsrError(f"objdump cannot read {library}: {done.stderr.strip()}")
    return inner_loops(done.stdout)


def inner_loops(listing: str) -> list[InnerLoop]:
    """Those of a listing of `objdump -d`, the ones with most dot products first."""
    found: list[InnerLoop] = []
    for name, lines in _functions(listing):
        if PEAK.search(name):
            continue
        for first, last in _innermost(lines):
            body = lines[first : last + 1]
            dots = [_named(mnemonic, operands) for _, mnemonic, operands in body if DOT_PRODUCTS.match(mnemonic)]
            if dots:
                kind = max(set(dots), key=dots.count)
                found.append(
                    InnerLoop(function=name, dot_product=kind, dot_products=dots.count(kind), instructions=len(body))
                )
    return sorted(found, key=lambda loop: -loop.dot_products)


Line = tuple[int, str, str]
"""Address, mnemonic, operands."""


def _functions(listing: str) -> Iterator[tuple[str, list[Line]]]:
    name, lines = "", list[Line]()
    for text in listing.splitlines():
        if heading := _FUNCTION.fullmatch(text):
            if lines:
                yield name, lines
            name, lines = heading[2], []
            continue
        address, _, rest = _PREFIX.sub("\t", text).strip().partition(":")
        if not rest:
            continue
        mnemonic, *operands = rest.split(maxsplit=1)
        if re.fullmatch(r"[0-9a-f]+", address):
            lines.append((int(address, 16), mnemonic, "".join(operands)))
    if lines:
        yield name, lines


def _innermost(lines: list[Line]) -> Iterator[tuple[int, int]]:
    """First and last line of each loop: a jump back, with no other loop between its target and itself."""
    places = {address: index for index, (address, _, _) in enumerate(lines)}
    loops: list[tuple[int, int]] = []
    for index, (address, mnemonic, operands) in enumerate(lines):
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if target is None or not _JUMP.match(mnemonic):
            continue
        goal = int(target[1], 16)
        if goal <= address and goal in places:
            loops.append((places[goal], index))
    for first, last in loops:
        if not any(first <= other[0] and other[1] <= last and other != (first, last) for other in loops):
            yield first, last


def _named(mnemonic: str, operands: str) -> str:
    """With the register's width, and one name for the three orders of a fused multiply-add."""
    plain = re.sub(r"fn?madd\d+", "fmadd", mnemonic)
    width = re.search(r"%?([xyz]mm)\d|\bv\d+\.(\w+)", operands)
    return plain if width is None else f"{plain} {width[1] or width[2]}"
