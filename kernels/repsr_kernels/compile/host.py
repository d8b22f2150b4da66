"""Libraries for the processor of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from repsr_kernels.compile.cache import CSRC, Entry, cached, key_of, texts_in
from repsr_kernels.compile.program import answer, run
from repsr_kernels.cpu.build import BuildError, find_compiler
from repsr_kernels.errors import RuntimeUnavailableError

FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-pthread")
"""Without contraction: the same bits as on a GPU."""


def host_compiler() -> list[str]:
    """As `find_compiler` of the engine's build.

    Raises:
        RuntimeUnavailableError: there is none.
    """
    try:
        return find_compiler()
    except BuildError as error:
        raise RuntimeUnavailableError(str(error)) from error


def host_library(sources: Sequence[Path], *, flags: Sequence[str] = ()) -> Path:
    """A shared library made of these sources for this processor, from the cache.

    Compiled anew when the compiler, the processor, a flag, or any text in `csrc`, beside the sources or in a folder
    that a flag names (`-I`) has changed. Sources include what is in `csrc` by name.

    Args:
        flags: behind our own (`FLAGS`), before the sources.

    Raises:
        RuntimeUnavailableError: no compiler, or it fails.
        RepsrError: the cache folder cannot be written to.
    """
    compiler = host_compiler()
    identity = (shutil.which(compiler[0]), answer(*compiler, "--version"))
    # `native` is whatever this processor can do: the macros that say so tell two machines with one cache folder apart
    processor = answer(*compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull)
    named = [Path(flag[2:]) for flag in flags if flag.startswith("-I")]
    texts = texts_in([CSRC, *(source.parent for source in sources), *named])
    wanted = (compiler, identity, processor, FLAGS, tuple(flags), [source.name for source in sources], texts)

    def make(path: Path) -> None:
        run([*compiler, *FLAGS, f"-I{CSRC}", *flags, *map(str, sources), "-o", str(path)])

    return cached(Entry(prefix=sources[0].stem, key=key_of(*wanted), suffix=".so"), make)
