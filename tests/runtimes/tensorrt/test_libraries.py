"""The script that fetches TensorRT for RTX: what is wrong is named, and nothing half done stays."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.errors import RepsrError
from repsr_deploy.files import file_sha256
from scripts import tensorrt_rtx_libraries as libraries
from scripts.tensorrt_rtx_libraries import PYTHON, RTX, TEN, Wheel, arrange, compile_stub, fetch
from tests.runtimes.tensorrt.conftest import environment

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def wheelhouse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with one small wheel, from which alone pip fetches."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "nothing_much-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("wanted/__init__.py", "x = 1\n")
        archive.writestr("large/unwanted.bin", "0" * 999)
        archive.writestr(
            "nothing_much-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing-much\nVersion: 1.0\n"
        )
        archive.writestr(
            "nothing_much-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("nothing_much-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def cached() -> set[str]:
    folder = libraries.cache_dir("tensorrt")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_what_is_wanted_is_unpacked_once(wheelhouse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file,) = wheelhouse.iterdir()
    wheel = Wheel("nothing-much==1.0", {"any": file_sha256(file)}, ("wanted/",))
    folder = fetch(wheel)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] == ["wanted/__init__.py"]
    file.unlink()
    assert fetch(wheel) == folder
    assert capsys.readouterr().err == "fetching nothing-much==1.0\n"
    assert cached() == {folder.name}


@pytest.mark.usefixtures("wheelhouse")
def test_another_file_than_the_known_one_is_not_used() -> None:
    with pytest.raises(RepsrError, match=f"nothing_much.* has SHA-256 .*; expected {'0' * 64}: it is not used"):
        fetch(Wheel("nothing-much==1.0", {"any": "0" * 64}, ("wanted/",)))
    assert cached() == set()


@pytest.mark.usefixtures("wheelhouse")
def test_what_pip_cannot_get_is_named() -> None:
    with pytest.raises(RepsrError, match=r"cannot fetch tensorrt-rtx-cu13-bindings==1\.7\.1\.116: .*"):
        fetch(RTX)
    assert cached() == set()


def test_every_python_that_we_support_is_known() -> None:
    for wheel in (RTX, TEN, libraries.ELEVEN):
        assert {"cp311", "cp312", "cp313"} == set(wheel.sha256)
        assert len({*wheel.sha256.values()}) == 3
    with pytest.raises(RepsrError, match=f"x==1 is known for cp39, and this Python is {PYTHON}"):
        fetch(Wheel("x==1", {"cp39": "0" * 64}, ()))


def test_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(RepsrError, match=r"for Linux on x86-64, and this is .* aarch64"):
        arrange("tensorrt-rtx")


def test_a_stub_needs_a_compiler_that_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(RepsrError, match=r"false cannot make x.so"):
        compile_stub(tmp_path / "x.so", ("f",))
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RepsrError, match=r"no C compiler to make x.so"):
        compile_stub(tmp_path / "x.so", ("f",))


@pytest.mark.tensorrt
@pytest.mark.usefixtures("arranged_rtx")
def test_the_program_prints_what_a_shell_understands() -> None:
    program: list[Any] = [sys.executable, ROOT / "scripts" / "tensorrt_rtx_libraries.py"]
    script = 'eval "$("$@")"; python=$1; exec "$python" -c "import tensorrt_rtx_bindings as m; print(m.__version__)"'
    result = subprocess.run(["bash", "-c", script, "bash", *program], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("1.7.1.116\n", "")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_continuous_integration_fails_where_others_skip(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(outcome, match="this is Linux riscv64"):
        environment("tensorrt-rtx", tmp_path)


@pytest.fixture
def arranged_rtx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REPSR_CACHE")
    environment("tensorrt-rtx", tmp_path)
