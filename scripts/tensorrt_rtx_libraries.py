"""Fetch TensorRT for RTX, whose builder needs no GPU, from wheels of the ordinary package index.

    python scripts/tensorrt_rtx_libraries.py [tensorrt-rtx | tensorrt-11 | tensorrt-10] [--json]

Prints the variables under which a new process finds module and libraries. `pip install tensorrt-rtx` does the same
where NVIDIA's own index can be reached. What is fetched (146 MB) stays in the user's cache folder, which REPSR_CACHE
moves.

The bindings of TensorRT 11 work with the same libraries as far as reading, building and saving go: only tests want
them. Those of TensorRT 10 get libraries that hold nothing, enough to import them and look at their names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from repsr_deploy.errors import RepsrError
from repsr_deploy.files import file_sha256
from repsr_kernels.cache_dir import cache_dir

PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"


@dataclass(frozen=True)
class Wheel:
    """A wheel, and what is wanted of it."""

    requirement: str
    sha256: dict[str, str]
    """Of the file, by the Python that it is for; `any` where it is for all."""
    wanted: tuple[str, ...]
    """Beginnings of the names of its members."""

    @property
    def expected(self) -> str | None:
        """Its SHA-256 for this Python; None where there is none."""
        return self.sha256.get("any", self.sha256.get(PYTHON))


@dataclass(frozen=True)
class Arrangement:
    """Bindings with libraries that they load."""

    bindings: Wheel
    libraries: dict[str, str] = field(default_factory=dict[str, str])
    """Name under which the bindings look for a library, to the name of one in `LIBRARIES`."""
    stubs: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Name of a library to make, to the functions that it exports and that nobody calls."""


LIBRARIES = Wheel(
    "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0",
    {"any": "32f575c633d171b4edf4b53d3bb22b72a6c9c0a850d2982ce9a788a5d40d3298"},
    (
        "onnxruntime_ep_nv_tensorrt_rtx/libtensorrt_rtx.so.1.7.1",
        "onnxruntime_ep_nv_tensorrt_rtx/libtensorrt_onnxparser_rtx.so.1.7.1",
    ),
)
RTX = Wheel(
    "tensorrt-rtx-cu13-bindings==1.7.1.116",
    {
        "cp311": "6a4d2bf39a98b71238046b9a9dd22d0e6b146be90cd56ac09f1e068933e4e18d",
        "cp312": "52fb62cb86b922637848f5971b53153bf2e091c33948fa89efd215abaa52b044",
        "cp313": "f15cdb560cf2d926405789985509f5496e378ba457a7fb657592ce7f7311c0ff",
    },
    ("tensorrt_rtx_bindings/",),
)
ELEVEN = Wheel(
    "tensorrt-cu13-bindings==11.4.0.106",
    {
        "cp311": "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
        "cp312": "5fc7a6c412881f7212030893bd5531b1a0ff415c72c7678dfe4ead7a7765b38d",
        "cp313": "bac9a362c9189b5f5dd0444213913846e4b46003237834958e890eff57d86ed5",
    },
    ("tensorrt_bindings/",),
)
TEN = Wheel(
    "tensorrt-cu13-bindings==10.16.1.11",
    {
        "cp311": "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
        "cp312": "2fb87ac24a5e5f42e43f283c16d1b661dc72ef18568fd847ce2080b7db9ca232",
        "cp313": "da17c222ba99f46e77e1dab568cd17c4652b0432d4fae074e4c79285356aa0ac",
    },
    ("tensorrt_bindings/",),
)
_RTX_LIBRARY, _RTX_PARSER = "libtensorrt_rtx.so.1.7.1", "libtensorrt_onnxparser_rtx.so.1.7.1"
_PLUGIN = ("initLibNvInferPlugins", "getNvOnnxParserVersion")
ARRANGEMENTS = {
    "tensorrt-rtx": Arrangement(
        RTX, {"libtensorrt_rtx.so.1": _RTX_LIBRARY, "libtensorrt_onnxparser_rtx.so.1": _RTX_PARSER}
    ),
    "tensorrt-11": Arrangement(
        ELEVEN,
        {"libnvinfer.so.11": _RTX_LIBRARY, "libnvonnxparser.so.11": _RTX_PARSER},
        {"libnvinfer_plugin.so.11": _PLUGIN},
    ),
    "tensorrt-10": Arrangement(
        TEN,
        {},
        {
            "libnvinfer.so.10": (
                *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
                *("getBuilderPluginRegistry", "getPluginRegistry"),
            ),
            "libnvonnxparser.so.10": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
            "libnvinfer_plugin.so.10": _PLUGIN,
        },
    ),
}


def arrange(name: str) -> dict[str, str]:
    """Fetch what an arrangement needs and is not there yet; the environment variables that make it work.

    Raises:
        RepsrError: another machine than x86-64 Linux, no such wheel, no connection, no compiler for a stub.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RepsrError(f"these wheels are for Linux on x86-64, and this is {platform.system()} {platform.machine()}")
    arrangement = ARRANGEMENTS[name]
    packages = fetch(arrangement.bindings)
    links = cache_dir("tensorrt", f"{packages.name}-libraries")
    if not links.is_dir():
        with appearing(links) as folder:
            for link, library in arrangement.libraries.items():
                (folder / link).symlink_to(fetch(LIBRARIES) / "onnxruntime_ep_nv_tensorrt_rtx" / library)
            for stub, functions in arrangement.stubs.items():
                compile_stub(folder / stub, functions)
    return {"LD_LIBRARY_PATH": str(links), "PYTHONPATH": str(packages)}


def fetch(wheel: Wheel) -> Path:
    """The folder with what is wanted of a wheel, downloaded and checked where it is not there yet.

    Raises:
        RepsrError: pip cannot get it, or gets another file than the one that is known.
    """
    expected = wheel.expected
    if expected is None:
        raise RepsrError(f"{wheel.requirement} is known for {', '.join(wheel.sha256)}, and this Python is {PYTHON}")
    target = cache_dir("tensorrt", f"{wheel.requirement.replace('==', '-')}-{expected[:8]}")
    if target.is_dir():
        return target
    print(f"fetching {wheel.requirement}", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory() as download:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--only-binary", ":all:", "--dest", download, wheel.requirement]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        files = list(Path(download).glob("*.whl"))
        if result.returncode != 0 or len(files) != 1:
            reason = (result.stderr.strip().splitlines() or ["pip gives no reason"])[-1]
            raise RepsrError(f"cannot fetch {wheel.requirement}: {reason}")
        found = file_sha256(files[0])
        if found != expected:
            raise RepsrError(f"{files[0].name} has SHA-256 {found}; expected {expected}: it is not used")
        with appearing(target) as folder, zipfile.ZipFile(files[0]) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(wheel.wanted)])
    return target


def compile_stub(library: Path, functions: tuple[str, ...]) -> None:
    """A shared library whose functions return 1, which is also true.

    Raises:
        RepsrError: no C compiler.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RepsrError(f"no C compiler to make {library.name}; install one, or name it in CC")
    source = "".join(f"int {name}(void) {{ return 1; }}\n" for name in functions)
    command = [*shlex.split(compiler), "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"]
    result = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RepsrError(f"{compiler} cannot make {library.name}: {result.stderr.strip()[:300]}")


@contextmanager
def appearing(target: Path) -> Generator[Path]:
    """A folder that gets its name when it is complete; whoever comes second keeps the first one's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name[:40]}.", dir=target.parent) as temporary:
        folder = Path(temporary, "content")
        folder.mkdir()
        yield folder
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def main() -> int:
    """Parse, fetch, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("arrangement", nargs="?", choices=ARRANGEMENTS, default="tensorrt-rtx")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a shell's export commands")
    arguments = parser.parse_args()
    try:
        environment = arrange(arguments.arrangement)
    except RepsrError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    exports = (f"export {name}={shlex.quote(value)}${{{name}:+:${name}}}" for name, value in environment.items())
    print(json.dumps(environment) if arguments.json else "\n".join(exports))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
