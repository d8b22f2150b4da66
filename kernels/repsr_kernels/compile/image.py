"""Images of kernels: made ahead of time, by nvcc, or by NVRTC when they are first used."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repsr_kernels.cache_dir import locked
from repsr_kernels.compile.cache import CSRC, Entry, cached, key_of, texts_in
from repsr_kernels.compile.nvcc import nvcc
from repsr_kernels.compile.nvrtc import nvrtc
from repsr_kernels.compile.toolkit import FLAGS, Compiler, target_of
from repsr_kernels.errors import RepsrError, RuntimeUnavailableError
from repsr_kernels.variants import Variant

log = logging.getLogger(__name__)

UNIVERSAL = "compute_75"
"""PTX that the driver of any GPU from compute capability 7.5 on can turn into machine code."""
_COMPILERS: tuple[Callable[[], Compiler], ...] = (nvcc, nvrtc)
_SUFFIX = ".image"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a driver loads."""

    data: bytes
    """A cubin, or PTX with a zero byte behind it."""
    target: str
    """`sm_89` of a cubin, `compute_89` of PTX."""
    compiler: str
    """`nvcc 13.0`"""
    toolkit: tuple[int, int]
    """Its version of CUDA."""

    def file(self) -> bytes:
        """As it lies in the cache: a line of JSON that says where it comes from, then the data."""
        head = {"target": self.target, "compiler": self.compiler, "toolkit": self.toolkit}
        return json.dumps(head).encode() + b"\n" + self.data

    @classmethod
    def of_file(cls, content: bytes) -> Image:
        """The inverse of `file`."""
        head, _, data = content.partition(b"\n")
        told = json.loads(head)
        return cls(data=data, target=told["target"], compiler=told["compiler"], toolkit=tuple(told["toolkit"]))


def compiled(variant: Variant, architecture: int) -> Image:
    """The image of a kernel for a GPU: one made ahead of time (`compile_ahead`), one from the cache, or made now.

    Args:
        architecture: ten times its compute capability.

    Raises:
        RuntimeUnavailableError: there is no image, and neither nvcc nor NVRTC can make one: says why of both.
        RepsrError: the cache folder cannot be written to.
    """
    for target in (f"sm_{architecture}", UNIVERSAL):
        if (content := _ahead(variant, target).content()) is not None:
            return Image.of_file(content)
    return _made(variant, lambda compiler: target_of(architecture, compiler))


def compile_ahead(variant: Variant, target: str) -> Path:
    """Make the image that `compiled` takes wherever this cache folder is brought, with a compiler or without.

    Args:
        target: `sm_89`, or `UNIVERSAL`.

    Raises:
        RuntimeUnavailableError: neither nvcc nor NVRTC can make it: says why of both.
        RepsrError: the cache folder cannot be written to.
    """
    content = _made(variant, lambda _: target).file()
    entry = _ahead(variant, target)
    with locked(entry.path):
        if entry.content() != content:  # perhaps another compiler made it
            entry.make(lambda path: _write(path, content))
    return entry.path


def _made(variant: Variant, target_for: Callable[[Compiler], str]) -> Image:
    """By the first compiler that can, from the cache if it did so before."""
    causes: list[str] = []
    for find in _COMPILERS:
        try:
            compiler = find()
            image = _made_by(compiler, variant, target_for(compiler))
        except RuntimeUnavailableError as error:
            causes.append(str(error))
            continue
        if causes:
            log.info("%s made %s, because: %s", compiler.name, variant.name, "; ".join(causes))
        return image
    raise RuntimeUnavailableError(
        f"cannot compile {variant.kernel}: {'; '.join(causes)}; or run `python -m repsr_kernels.compile` where there "
        "is a compiler, and bring its cache folder here"
    )


def _made_by(compiler: Compiler, variant: Variant, target: str) -> Image:
    key = key_of(compiler.identity, *_content(variant, target))
    entry = Entry(prefix=f"{variant.name}-{target}", key=key, suffix=_SUFFIX)

    def make(path: Path) -> None:
        data = compiler.compile(variant.text, variant.name, target)
        if target.startswith("compute_") and not data.endswith(b"\0"):
            data += b"\0"  # drivers look for the end of a text
        image = Image(data=data, target=target, compiler=compiler.name, toolkit=compiler.toolkit)
        _write(path, image.file())

    path = cached(entry, make)
    content = entry.content()
    if content is None:
        raise RepsrError(f"{path} was removed or changed while it was read; expected nobody else to write there")
    return Image.of_file(content)


def _ahead(variant: Variant, target: str) -> Entry:
    """Of an image that is taken whoever made it."""
    return Entry(prefix=f"ahead-{variant.name}-{target}", key=key_of(*_content(variant, target)), suffix=_SUFFIX)


def _content(variant: Variant, target: str) -> tuple[object, ...]:
    return variant.text, target, FLAGS, texts_in([CSRC], (".cu", ".cuh"))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
