"""Finding `trtexec` or `tensorrt_rtx`, and learning from its own words what it is and which flags it takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import RuntimeUnavailableError, UsageError

NAMES = ("trtexec", "tensorrt_rtx")
ROOT_VARIABLES = ("TRT_ROOT", "TENSORRT_ROOT")
USUAL_FOLDERS = (Path("/usr/src/tensorrt/bin"), Path("/opt/tensorrt/bin"))
"""Of the Debian and RPM packages, and of the NGC container."""
OLDEST = (10, 0, 0)
HELP_TIMEOUT_S = 120.0
HOW_TO_GET = (
    "trtexec comes with NVIDIA's TensorRT as a tar archive, as a Debian or RPM package (libnvinfer-bin) or in NVIDIA's "
    "TensorRT container, and tensorrt_rtx with the archive of TensorRT for RTX; the pip wheels contain neither. Where "
    "it is installed, put its folder on PATH, set TRT_ROOT, or name the program itself"
)

_BANNER = re.compile(r"^&&&& RUNNING \S+ \[TensorRT\S* v(?P<version>[\d.]+)\](?: \[b(?P<build>\d+)\])?", re.MULTILINE)
_FLAG = re.compile(r"^  (?P<names>--?\w+(?:=[^\s,]*)?(?:, --?\w+)*)(?P<text>.*)$", re.MULTILINE)
_NAME = re.compile(r"(?:^|\s)(--?\w+)")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that builds and times engines."""

    path: Path
    rtx: bool
    """TensorRT for RTX, whose versions are counted apart."""
    version: tuple[int, int, int]
    build: str
    """Number of the build; empty where it does not say."""
    flags: Mapping[str, str]
    """What its help says of each flag, first line."""

    @property
    def name(self) -> str:
        """`TensorRT 11.0.0 (build 114)`."""
        product = "TensorRT for RTX" if self.rtx else "TensorRT"
        return f"{product} {'.'.join(map(str, self.version))}" + (f" (build {self.build})" if self.build else "")

    @property
    def guesses_types(self) -> bool:
        """Whether it computes in types of its own choice unless told to keep to those of the model."""
        return not self.rtx and self.version < (11, 0, 0)

    def takes(self, flag: str) -> bool:
        """Whether `--flag` or `--flag=value` does something in this version: known, and no leftover without effect."""
        text = self.flags.get(flag.partition("=")[0])
        return text is not None and "[Deprecated]" not in text


def find_program(explicit: Path | None = None, names: Sequence[str] = NAMES) -> Program:
    """Find the program and ask it what it is.

    Args:
        explicit: the program itself; None to look on PATH, in `$TRT_ROOT/bin` and `$TENSORRT_ROOT/bin`, in
            /usr/src/tensorrt/bin and /opt/tensorrt/bin, and beside this Python's own programs.
        names: what it may be called, the preferred one first.

    Raises:
        UsageError: `explicit` is no program.
        RuntimeUnavailableError: there is none, it does not start, or it is of a TensorRT older than 10.
    """
    if explicit is not None:
        if not explicit.is_file() or not os.access(explicit, os.X_OK):
            raise UsageError(f"{explicit} is no program; expected trtexec or tensorrt_rtx: {HOW_TO_GET}")
        return _ask(explicit)
    found = next((path for name in names for path in _places(name)), None)
    if found is None:
        raise RuntimeUnavailableError(f"no {' or '.join(names)} found on this machine: {HOW_TO_GET}")
    return _ask(found)


def _places(name: str) -> Iterator[Path]:
    roots = (os.environ.get(variable) for variable in ROOT_VARIABLES)
    own = Path(sysconfig.get_path("scripts"))
    folders = [os.environ.get("PATH", os.defpath), *(str(Path(root) / "bin") for root in roots if root)]
    for folder in (*folders, *map(str, USUAL_FOLDERS), str(own)):
        path = shutil.which(name, path=folder)
        if path is not None:
            yield Path(path)


def _ask(path: Path) -> Program:
    path = path.absolute()
    try:
        done = subprocess.run(
            [path, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=HELP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"{path} does not start ({error}); {HOW_TO_GET}") from error
    return read_help(path, done.stdout)


def read_help(path: Path, text: str) -> Program:
    """Understand what `path --help` prints: a banner with the version, and a line or more for each flag.

    Raises:
        RuntimeUnavailableError: it is not the help of such a program, or of one that is too old.
    """
    banner = _BANNER.search(text)
    if banner is None:
        said = " ".join(text.split())[:300] or "nothing"
        libraries = path.resolve().parent.parent / "lib"
        raise RuntimeUnavailableError(
            f"`{path} --help` does not say which TensorRT it is of, but: {said}; expected a line `&&&& RUNNING ... "
            f"[TensorRT v...]`; if it misses a library, add {libraries} to LD_LIBRARY_PATH"
        )
    flags = {name: match["text"].strip() for match in _FLAG.finditer(text) for name in _NAME.findall(match["names"])}
    program = Program(
        path=path,
        rtx="rtx" in path.stem.lower(),
        version=_version(banner["version"]),
        build=banner["build"] or "",
        flags=flags,
    )
    if not program.rtx and program.version < OLDEST:
        raise RuntimeUnavailableError(
            f"{path} is of {program.name}; expected TensorRT 10 or 11, which read types from the model; "
            "install a newer one, or name another program"
        )
    return program


def _version(text: str) -> tuple[int, int, int]:
    """`110000` or `11.0.0.114` is 11.0.0, and `10701` is 1.7.1 (NvInferVersion.h: 10000 major + 100 minor + patch).

    Up to TensorRT 9 it was 1000 major, so that `8601` is 8.6.1.
    """
    if "." in text:
        major, minor, patch = (*map(int, text.strip(".").split(".")), 0, 0)[:3]
        return major, minor, patch
    number = int(text)
    major, rest = divmod(number, 10000 if number >= 10000 else 1000)
    return major, rest // 100, rest % 100
