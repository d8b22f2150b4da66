"""NVIDIA's compiler as a library: comes with PyTorch, or alone from PyPI, where there is no toolkit.

Signatures are those of `nvrtc.h` in CUDA 12 and 13. It needs no GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from pathlib import Path

from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.program import CompileError, refusal
from repsr_kernels.compile.toolkit import FLAGS, toolkit_folders
from repsr_kernels.errors import RuntimeUnavailableError

NAMES = ("libnvrtc.so.13", "libnvrtc.so.12")


class Nvrtc:
    """A library that was loaded; a `toolkit.Compiler`.

    Raises:
        OSError: it cannot be loaded.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._library = ctypes.CDLL(path)
        for builtins in Path(path).parent.glob("libnvrtc-builtins.so.*") if "/" in path else ():
            ctypes.CDLL(str(builtins))  # which some wheels' library does not find beside itself, but when it is loaded
        self._library.nvrtcGetErrorString.restype = c_char_p
        major, minor = c_int(), c_int()
        self._call("nvrtcVersion", byref(major), byref(minor))
        self.toolkit = major.value, minor.value
        self.name = f"NVRTC {major.value}.{minor.value}"
        self.identity = f"{path} {self.name}"
        count = c_int()
        self._call("nvrtcGetNumSupportedArchs", byref(count))
        known = (c_int * count.value)()
        self._call("nvrtcGetSupportedArchs", known)
        self.architectures = tuple(sorted(known))

    def compile(self, text: str, name: str, target: str) -> bytes:
        """As `toolkit.Compiler.compile`."""
        options = [*FLAGS, f"-arch={target}", f"-I{CSRC}", "-default-device"]  # lambdas of kernels are for the GPU
        program = c_void_p()
        nothing = c_int(0), None, None  # headers are read from their files
        self._call("nvrtcCreateProgram", byref(program), text.encode(), f"{name}.cu".encode(), *nothing)
        try:
            given = (c_char_p * len(options))(*(option.encode() for option in options))
            status: int = self._library.nvrtcCompileProgram(program, c_int(len(options)), given)
            if status != 0:
                log = self._get("ProgramLog", program).rstrip(b"\0").decode(errors="replace")
                raise refusal(self.name, log, self._said(status))
            return self._get("CUBIN" if target.startswith("sm_") else "PTX", program)
        finally:
            self._library.nvrtcDestroyProgram(byref(program))

    def _get(self, what: str, program: c_void_p) -> bytes:
        size = c_size_t()
        self._call(f"nvrtcGet{what}Size", program, byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self._call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def _call(self, function: str, *arguments: object) -> None:
        status: int = getattr(self._library, function)(*arguments)
        if status != 0:
            raise CompileError(f"{function} of {self.name} failed: {self._said(status)}")

    def _said(self, status: int) -> str:
        said: bytes = self._library.nvrtcGetErrorString(c_int(status))
        return said.decode()


def nvrtc() -> Nvrtc:
    """The library of this machine; of several, the first that loads.

    Raises:
        RuntimeUnavailableError: there is none.
    """
    causes: list[str] = []
    for path in _places():
        try:
            return _nvrtc(path)
        except OSError as error:
            causes.append(str(error))
    raise RuntimeUnavailableError(
        f"no NVRTC ({'; '.join(causes)}); install nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12 with pip"
    )


@cache
def _nvrtc(path: str) -> Nvrtc:
    return Nvrtc(path)


def _places() -> Iterator[str]:
    """Names for the loader of programs, which knows what PyTorch has loaded; then files of toolkits and of wheels."""
    yield from NAMES
    folders = [folder / "lib64" for folder in toolkit_folders()]
    for package, inside in (("nvidia", "*/lib"), ("torch", "lib")):
        spec = importlib.util.find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            folders += sorted(Path(root).glob(inside), reverse=True)
    for folder in folders:
        for name in NAMES:
            found = folder.glob(name.replace(".so", "*.so"))  # PyTorch's own copy has a hash in its name
            yield from (str(path) for path in found if "builtins" not in path.name)
