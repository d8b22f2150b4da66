"""The engine's library: found or made, loaded, and its functions and structures as `csrc/repsr_engine.h` has them."""

from __future__ import annotations

import ctypes
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import cache, partial
from pathlib import Path

from repsr_kernels.cpu import build
from repsr_kernels.errors import ModelFileError, NotPlainError, RepsrError, RuntimeUnavailableError, UsageError

log = logging.getLogger(__name__)

OK, BAD_MODEL, NOT_PLAIN, BAD_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, NOT_FINITE = range(7)
"""`repsr_status`"""
BYTES, FLOATS, FEATURES = range(3)
"""`repsr_samples`"""


class Message(ctypes.Structure):
    """`repsr_message`"""

    _fields_ = (("text", ctypes.c_char * 512),)

    def __str__(self) -> str:
        return self.text.decode(errors="replace")  # it may be cut off within a character


class Description(ctypes.Structure):
    """`repsr_description`"""

    _fields_ = (
        ("colours", c_int32), ("scale", c_int32), ("layers", c_int32), ("channels", c_int32), ("int8_layers", c_int32),
        ("skip", c_int32), ("io", c_int32), ("clamps", c_int32), ("macs_per_pixel", c_int64),
    )  # fmt: skip


class Job(ctypes.Structure):
    """`repsr_job`"""

    _fields_ = (
        ("height", c_int64), ("width", c_int64), ("first_row", c_int64), ("end_row", c_int64),
        ("image", c_void_p), ("image_bytes", c_uint64), ("image_pitch", c_int64), ("image_plane", c_int64),
        ("out", c_void_p), ("out_bytes", c_uint64), ("out_pitch", c_int64), ("out_plane", c_int64),
        ("image_samples", c_int32), ("out_samples", c_int32),
        ("threads", c_int32), ("strip_rows", c_int32), ("block_columns", c_int32),
    )  # fmt: skip


_ERRORS: dict[int, type[Exception]] = {
    BAD_MODEL: ModelFileError,
    NOT_PLAIN: NotPlainError,
    BAD_ARGUMENT: UsageError,
    UNSUPPORTED: RuntimeUnavailableError,
    OUT_OF_MEMORY: MemoryError,
    NOT_FINITE: ModelFileError,
}
FUNCTIONS = {
    "repsr_sources": (c_char_p, ()),
    "repsr_instruction_set": (c_char_p, (c_int32,)),
    "repsr_precisions": (c_uint32, (c_char_p,)),
    "repsr_model_read": (c_int, (c_char_p, c_uint64, POINTER(c_void_p), POINTER(Message))),
    "repsr_model_free": (None, (c_void_p,)),
    "repsr_model_describe": (None, (c_void_p, POINTER(Description))),
    "repsr_model_property_key": (c_char_p, (c_void_p, c_int32)),
    "repsr_model_property_value": (c_char_p, (c_void_p, c_int32)),
    "repsr_network_make": (c_int, (c_void_p, c_int, c_char_p, POINTER(c_void_p), POINTER(Message))),
    "repsr_network_free": (None, (c_void_p,)),
    "repsr_network_instruction_set": (c_char_p, (c_void_p,)),
    "repsr_run": (c_int, (c_void_p, POINTER(Job), POINTER(Message))),
    "repsr_peak": (c_double, (c_char_p, c_int, c_int32, c_double)),
}
"""Results and arguments."""


@cache
def library() -> ctypes.CDLL:
    """The functions. Calling one releases the interpreter's lock while it runs.

    The library beside this module is taken where it was made of the sources that lie there (or where there are none);
    otherwise, as in a checkout whose sources were edited, it is compiled into the user's cache, once for all processes.

    Raises:
        RuntimeUnavailableError: neither is possible: says why of both, and the way out.
    """
    sources = build.read_sources(build.CSRC)
    causes: list[str] = []
    for find in (_beside, _compiled):
        try:
            return _typed(find(sources))
        except (build.BuildError, RepsrError) as error:
            causes.append(str(error))
    raise RuntimeUnavailableError(
        f"the processor engine cannot be used: {'; '.join(causes)}; a C++ compiler makes it of the sources, and wheels "
        "for one platform have it inside: install either"
    )


def why_unavailable() -> str | None:
    """Why there is no engine here, and the way out; None where there is one. For that it may be compiled."""
    try:
        library()
    except RuntimeUnavailableError as error:
        return str(error)
    return None


def call(function: Callable[..., int], *arguments: object) -> None:
    """Call a function whose last argument is a message, and raise what it says went wrong.

    Raises:
        ModelFileError, NotPlainError, UsageError, RuntimeUnavailableError, MemoryError: by its status.
    """
    message = Message()
    status = function(*arguments, byref(message))
    if status != OK:
        raise _ERRORS[status](str(message))


def identity_of(compiler: Sequence[str]) -> tuple[object, ...]:
    """What tells a compiler's results from those of others.

    Raises:
        RuntimeUnavailableError: it cannot be started.
    """
    from repsr_kernels.compile.program import answer

    return (list(compiler), shutil.which(compiler[0]), answer(*compiler, "--version"))


def object_of(work: build.Build, unit: build.Unit) -> Path:
    """The object of a unit, from the cache.

    Raises:
        BuildError: the compiler refuses the text.
        RepsrError: the cache folder cannot be written to.
    """
    from repsr_kernels.compile.cache import Entry, cached, key_of

    key = key_of(identity_of(work.compiler), unit)
    entry = Entry(prefix=f"engine-{Path(unit.name).stem}", key=key, suffix=".o")
    return cached(entry, lambda path: work.compile(unit, path))


def _beside(sources: dict[str, bytes]) -> ctypes.CDLL:
    """The library beside this module, unless it was made of other sources than those that lie there.

    Raises:
        BuildError: it was, it cannot be loaded, or there is none.
    """
    if not build.LIBRARY.exists():
        raise build.BuildError(f"there is no {build.LIBRARY}")
    found, digest = build.load(build.LIBRARY)
    if sources and digest != build.digest_of(sources):
        raise build.BuildError(f"{build.LIBRARY} was made of other sources than those in {build.CSRC}")
    return found


def _compiled(sources: dict[str, bytes]) -> ctypes.CDLL:
    """The library from the cache. Objects are kept too: after an edit only those that it concerns are made again.

    Raises:
        BuildError: there are no sources, or what was compiled cannot be loaded.
        RuntimeUnavailableError: no compiler, or it fails.
        RepsrError: the cache folder cannot be written to.
    """
    from repsr_kernels.compile.cache import Entry, cached, key_of
    from repsr_kernels.compile.host import host_compiler
    from repsr_kernels.compile.program import compile_error

    if not sources:
        raise build.BuildError(f"there are no sources in {build.CSRC}")
    compiler = host_compiler()

    def make(path: Path) -> None:
        log.info("compiling the processor engine, once for these sources: up to half a minute")
        try:
            with tempfile.TemporaryDirectory(prefix="repsr-build-") as folder:
                work = build.Build(sources, Path(folder), compiler)
                work.link(build.at_once(partial(object_of, work), work.units), path)
        except build.BuildError as error:
            raise compile_error(error) from error

    entry = Entry(prefix="engine", key=key_of(identity_of(compiler), build.digest_of(sources)), suffix=".so")
    return build.load(cached(entry, make))[0]


def _typed(found: ctypes.CDLL) -> ctypes.CDLL:
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found
