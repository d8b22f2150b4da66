"""Run a command with a simulated GPU (tests/simulated_gpu/README.md).

    python -m scripts.simulated_gpu COMMAND...

Needs nvcc of CUDA 13, g++, and a connection for the first time: PyCUDA's source is fetched from the ordinary package
index, checked, and built for this driver (a minute). What is made stays in the user's cache folder, which REPSR_CACHE
moves, and is made again when a text or a compiler changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.compile.nvcc import find_nvcc
from repsr_kernels.compile.program import answer, run
from repsr_kernels.errors import RepsrError, RuntimeUnavailableError
from scripts.tensorrt_rtx_libraries import appearing

SIMULATION = Path(__file__).parents[1] / "tests" / "simulated_gpu"
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
DRIVER_FLAGS = (
    "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wmissing-declarations", "-fPIC", "-fvisibility=hidden",
    "-D__CUDA_API_PUSH_VISIBILITY_DEFAULT",
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """A file of the package index."""

    requirement: str
    sha256: str


PYCUDA = Package("pycuda==2026.1", "759516160628ba06f32ce7e563e3f5b9214691dc9528a03ea99ea1073f4e14ba")
WHEELS = (
    Package("pytools==2026.1.1", "1f6d9a39c871b6dc761893373792f10b67886c83e38f2aa09b66e11f8c021436"),
    Package("platformdirs==4.14.7", "391513b74707c42335fff3ea17eaac657a7ee9ffcadd809634d34ea594d0122c"),
)
"""What PyCUDA imports and this project does not have otherwise."""


@dataclass(frozen=True)
class Toolkit:
    """The real nvcc, and what lies around it."""

    nvcc: str
    root: Path
    include: Path

    @property
    def identity(self) -> str:
        """Tells it apart from other versions."""
        return answer(self.nvcc, "--version")


def arrange() -> dict[str, str]:
    """Make what is not there yet; the environment variables of a process with a simulated GPU.

    Raises:
        RepsrError: no nvcc of CUDA 13, no g++, no PyCUDA, or one of them fails.
    """
    toolkit = find_toolkit()
    driver = build_driver(toolkit)
    packages = build_pycuda(toolkit, driver)
    return {
        "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", driver),
        "PYTHONPATH": _before("PYTHONPATH", packages),
        "PATH": _before("PATH", SIMULATION / "bin"),
        "CUDA_HOME": str(SIMULATION),  # its bin has the nvcc that goes with the simulation
        "SIMULATED_GPU_NVCC": toolkit.nvcc,
        "SIMULATED_GPU_PYTHON": sys.executable,
        "SIMULATED_GPU_CACHE": str(cache_dir("simulated-gpu", "kernels")),
    }


def find_toolkit() -> Toolkit:
    """The CUDA toolkit of this machine, asked where its headers are.

    Raises:
        RuntimeUnavailableError: there is none, or one that is too old.
    """
    nvcc = os.environ.get("SIMULATED_GPU_NVCC") or find_nvcc()
    release = re.search(r"release (\d+)", answer(nvcc, "--version"))
    if release is None or int(release[1]) < 13:
        raise RuntimeUnavailableError(f"{nvcc} is not of CUDA 13, for which the simulated driver is written")
    said = run([nvcc, "--dryrun", "-E", "-x", "cu", os.devnull])
    root, include = (re.search(pattern, said) for pattern in (r"TOP=(\S+)", r'INCLUDES="-I([^"]+)"'))
    if root is None or include is None:
        raise RuntimeUnavailableError(f"{nvcc} --dryrun does not say where its toolkit is: {said[:200]}")
    return Toolkit(nvcc, Path(root[1]).resolve(), Path(include[1]).resolve())


def build_driver(toolkit: Toolkit) -> Path:
    """The folder with the simulated `libcuda.so.1`."""
    sources = sorted(SIMULATION.glob("driver/*.cpp"))
    texts = [path.read_bytes() for path in sorted(SIMULATION.glob("driver/*"))]
    key = _key(answer("g++", "--version"), toolkit.identity, DRIVER_FLAGS, texts)
    target = cache_dir("simulated-gpu", f"driver-{key}")
    if target.is_dir():
        return target
    _say("building the simulated driver")
    with appearing(target) as folder, tempfile.TemporaryDirectory() as objects:

        def compiled(source: Path) -> str:
            made = Path(objects) / f"{source.stem}.o"
            run(["g++", *DRIVER_FLAGS, "-isystem", str(toolkit.include), "-c", str(source), "-o", str(made)])
            return str(made)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(compiled, sources))
        library = folder / "libcuda.so.1"
        run(["g++", "-shared", "-pthread", f"-Wl,-soname,{library.name}", "-o", str(library), *made, "-ldl"])
        (folder / "libcuda.so").symlink_to(library.name)
    return target


def build_pycuda(toolkit: Toolkit, driver: Path) -> Path:
    """The folder with PyCUDA and what it imports, without cuRAND and without optimisation, which takes minutes."""
    key = _key(PYCUDA, WHEELS, PYTHON, toolkit.identity)
    target = cache_dir("simulated-gpu", f"pycuda-{PYTHON}-{key}")
    if target.is_dir():
        return target
    _say(f"fetching and building {PYCUDA.requirement}, once: this takes a minute")
    with appearing(target) as folder, tempfile.TemporaryDirectory() as scratch:
        wheels = [_fetched(package, Path(scratch)) for package in WHEELS]
        with tarfile.open(_fetched(PYCUDA, Path(scratch))) as archive:
            archive.extractall(scratch, filter="data")
        (source,) = Path(scratch).glob("pycuda-*/")
        settings = {
            "CUDA_ROOT": str(toolkit.root), "CUDA_INC_DIR": [str(toolkit.include)], "CUDADRV_LIB_DIR": [str(driver)],
            "CUDA_ENABLE_CURAND": False, "CXXFLAGS": ["-O0", "-g0"],
        }  # fmt: skip
        (source / "siteconf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(source / "made"), str(source))
        for wheel in (*wheels, *(source / "made").glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return target


def _fetched(package: Package, folder: Path) -> Path:
    """The file of a package, which is the one that is known."""
    download = folder / package.requirement
    kind = ["--no-binary", ":all:"] if package is PYCUDA else ["--only-binary", ":all:"]
    _pip("download", "--no-deps", "--no-build-isolation", *kind, "--dest", str(download), package.requirement)
    (file,) = download.iterdir()
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != package.sha256:
        raise RepsrError(f"{file.name} has SHA-256 {found}; expected {package.sha256}: it is not used")
    return file


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["it gives no reason"])[-1]
        raise RuntimeUnavailableError(f"pip {arguments[0]} of {arguments[-1]} failed: {reason}")


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _before(variable: str, path: Path) -> str:
    """A list of folders with one more at its beginning."""
    return os.pathsep.join(filter(None, [str(path), os.environ.get(variable)]))


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 # a program


def main(command: list[str]) -> int:
    """Make what is needed, and become the command."""
    if not command:
        _say("usage: scripts/simulated_gpu COMMAND...")
        return 2
    try:
        os.environ.update(arrange())
    except RepsrError as error:
        _say(f"error: no simulated GPU: {error}")
        return 1
    try:
        os.execvp(command[0], command)
    except OSError as error:
        _say(f"error: cannot run {command[0]}: {error.strerror}")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
