"""Wheels with the engine inside, and without: what `pip install` and `python -m build` make of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from repsr_kernels.cpu import build
from repsr_kernels.cpu.network import Model, Network
from repsr_kernels.cpu.shared_library import library

ROOT = Path(__file__).parents[3]
ENGINE = f"repsr_kernels/cpu/{build.LIBRARY.name}"
SHOWN = 'extern "C" __attribute__((visibility("default")))'
SMALL = {
    "api.cpp": f"{SHOWN} const char* repsr_sources() {{ return REPSR_SOURCES; }}\n",
    "isa_portable.cpp": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The project without most of its Python, to build in."""
    made = tmp_path / "tree"
    shutil.copytree(
        ROOT / "kernels", made / "kernels", ignore=shutil.ignore_patterns("__pycache__", build.LIBRARY.name)
    )
    shutil.copytree(
        ROOT / "repsr_deploy" / "weights",
        made / "repsr_deploy" / "weights",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("training", "serve"):
        (made / name).mkdir()
    for name in ("__init__.py", "_version.py"):
        shutil.copy(ROOT / "repsr_deploy" / name, made / "repsr_deploy")
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, made)
    return made


@pytest.fixture
def small_tree(tree: Path) -> Path:
    """With an engine of two texts, which is compiled at once."""
    csrc = tree / "kernels" / "repsr_kernels" / "cpu" / "csrc"
    shutil.rmtree(csrc)
    csrc.mkdir()
    for name, text in SMALL.items():
        (csrc / name).write_text(text)
    return tree


def built(tree: Path, what: str = "wheel", **environment: str) -> tuple[Path, str]:
    """What a frontend asks for, made by the project's backend, and what it says meanwhile."""
    out = tree.parent / "dist"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})"
    said = run([sys.executable, "-c", code], tree, environment)
    (made,) = out.iterdir()
    return made, said


def build_engine(tree: Path, **environment: str) -> str:
    """The library alone, and what is said meanwhile."""
    return run([sys.executable, "setup.py", "build_engine"], tree, environment)


def run(command: list[str], tree: Path, environment: dict[str, str]) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in {"CXX", "REPSR_ENGINE", "PYTHONPATH"}}
    given = kept | environment
    process = subprocess.run(command, cwd=tree, env=given, capture_output=True, text=True, check=False)
    said = process.stdout + process.stderr
    if process.returncode:
        raise RuntimeError(said)
    return said


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


RUN = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from pathlib import Path
from repsr_kernels.cpu.network import Model, Network
from repsr_kernels.cpu.shared_library import library
assert library()._name == {library!r}, library()._name
network = Network(Model(Path({folder!r}, "repsr_deploy/weights/photo-x2.onnx").read_bytes()))
image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
out = np.empty((10, 14, 3), np.uint8)
network.upscale_images(image, out)
sys.stdout.write(out.tobytes().hex())
"""


def test_a_wheel_runs_the_engine_where_there_is_no_compiler(tree: Path, tmp_path: Path) -> None:
    beside = tree / "kernels" / ENGINE
    shutil.copy(library()._name, beside)  # made of these sources: it is not compiled again
    wheel, _ = built(tree, REPSR_ENGINE="require", CXX="false")
    *_, tags = parse_wheel_filename(wheel.name)
    assert {(tag.interpreter, tag.abi) for tag in tags} == {("py3", "none")}
    assert "any" not in {tag.platform for tag in tags}
    assert tags & set(sys_tags())
    folder = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    assert (folder / ENGINE).read_bytes() == beside.read_bytes()
    code = RUN.format(folder=str(folder), library=str(folder / ENGINE))
    environment = {"PATH": str(tmp_path), "REPSR_CACHE": str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-I", "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    image, expected = np.arange(105, dtype=np.uint8).reshape(5, 7, 3), np.empty((10, 14, 3), np.uint8)
    Network(Model((ROOT / "repsr_deploy/weights/photo-x2.onnx").read_bytes())).upscale_images(image, expected)
    assert found == expected.tobytes().hex()
    assert not (tmp_path / "cache").exists()


def test_with_a_compiler_and_with_one_that_fails(small_tree: Path) -> None:
    wheel, _ = built(small_tree)
    *_, tags = parse_wheel_filename(wheel.name)
    assert tags & set(sys_tags())
    assert "any" not in {tag.platform for tag in tags}
    sources = {f"repsr_kernels/cpu/csrc/{name}" for name in SMALL}
    assert files(wheel) >= {ENGINE, *sources}
    assert not [name for name in files(wheel) if ".data/" in name]  # else it would not lie beside its module

    # what is left of that build does not come into the next one
    wheel, said = built(small_tree, CXX="false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert ENGINE not in files(wheel)
    assert files(wheel) >= sources
    assert "installing without the processor engine, other runtimes do its work: false failed: exit code 1" in said


def test_what_the_environment_asks_for(small_tree: Path) -> None:
    library = small_tree / "build" / "lib" / ENGINE
    library.parent.mkdir(parents=True)
    library.write_text("of an earlier build")
    assert "without the processor engine" not in build_engine(small_tree, REPSR_ENGINE="no")
    assert not library.exists()
    required = "REPSR_ENGINE=require, but CXX names 'no-such-compiler', which is no program here"
    with pytest.raises(RuntimeError, match=required):
        build_engine(small_tree, REPSR_ENGINE="require", CXX="no-such-compiler")
    with pytest.raises(RuntimeError, match="REPSR_ENGINE is 'perhaps'; expected require, no, or nothing"):
        build_engine(small_tree, REPSR_ENGINE="perhaps")


def test_an_editable_installation_has_it_beside_the_sources(small_tree: Path) -> None:
    csrc = small_tree / "kernels" / "repsr_kernels" / "cpu" / "csrc"
    built(small_tree, "editable")
    beside = small_tree / "kernels" / ENGINE
    assert build.load(beside)[1] == build.sources_digest(csrc)

    made, _ = built(small_tree, "sdist")  # takes the sources, not what was made of them
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {f"kernels/repsr_kernels/cpu/csrc/{name}" for name in SMALL}
    assert names >= {"setup.py", "kernels/repsr_kernels/cpu/build.py", *sources}
    assert f"kernels/{ENGINE}" not in names

    build_engine(small_tree, REPSR_ENGINE="require", CXX="false")  # copies the one that is there
    (csrc / "api.cpp").write_text(SMALL["api.cpp"] + "int more() { return 1; }\n")
    with pytest.raises(RuntimeError, match="false failed"):  # that one is of other sources now
        build_engine(small_tree, REPSR_ENGINE="require", CXX="false")
