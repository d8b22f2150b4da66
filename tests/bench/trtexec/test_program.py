"""Finding the program, and understanding its help."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec import find_program
from repsr_deploy.bench.trtexec import program as program_module
from repsr_deploy.bench.trtexec.program import read_help
from repsr_deploy.errors import RuntimeUnavailableError, UsageError
from tests.bench.trtexec.stand_in import ELEVEN, KINDS, RTX, TEN, Kind, install, install_script


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the program; the path is the one folder of PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in program_module.ROOT_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(program_module, "USUAL_FOLDERS", (tmp_path / "usual",))
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_it_says_what_it_is(kind: Kind, tmp_path: Path) -> None:
    program = find_program(install(tmp_path, kind))
    assert program.name == kind.version
    assert program.rtx == (kind is RTX)
    assert program.path == tmp_path / kind.program


@pytest.mark.parametrize(
    ("number", "version"),
    [("101600", (10, 16, 0)), ("110203", (11, 2, 3)), ("100001", (10, 0, 1)), ("11.1.0.106", (11, 1, 0))],
)
def test_version_numbers(number: str, version: tuple[int, int, int]) -> None:
    text = TEN.read("help.txt").replace("v101600] [b72]", f"v{number}]")
    program = read_help(Path("trtexec"), text)
    assert program.version == version
    assert program.build == ""


def test_versions_of_tensorrt_for_rtx_are_counted_apart() -> None:
    assert read_help(Path("tensorrt_rtx"), RTX.read("help.txt")).version == (1, 7, 1)
    with pytest.raises(RuntimeUnavailableError, match=r"is of TensorRT 1\.7\.1 .*expected TensorRT 10 or 11"):
        read_help(Path("trtexec"), RTX.read("help.txt"))


@pytest.mark.parametrize("banner", ["v8601", "v9300"])
def test_an_old_version_is_refused(banner: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=rf"TensorRT {banner[1]}\.{banner[2]}\..*install a newer one"):
        read_help(Path("trtexec"), TEN.read("help.txt").replace("v101600", banner))


def test_flags_without_effect_are_not_taken() -> None:
    ten, eleven = (read_help(Path("trtexec"), kind.read("help.txt")) for kind in (TEN, ELEVEN))
    for flag in ("--useCudaGraph", "--noDataTransfers", "--useSpinWait", "--stronglyTyped", "--separateProfileRun"):
        assert ten.takes(flag)
        assert flag in eleven.flags
        assert not eleven.takes(flag)
    for flag in ("--noCudaGraph", "--includeDataTransfers", "--noSpinWait"):
        assert not ten.takes(flag)
        assert eleven.takes(flag)
    assert ten.takes("--fp16")
    assert not eleven.takes("--fp16")
    assert ten.takes("--sparsity=force")  # one of its values is deprecated, the flag is not
    assert ten.takes("--vc")  # the second name of a flag
    assert eleven.takes("--helpBuildRoute=knob")
    assert not ten.takes("--weightless")


def test_path_comes_first_then_variables_then_usual_places(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, usual = bare.parent / "root", bare.parent / "usual"
    in_usual = install(usual, TEN)
    assert find_program().path == in_usual
    monkeypatch.setenv("TENSORRT_ROOT", str(root))
    in_root = install(root / "bin", TEN)
    assert find_program().path == in_root
    in_path = install(bare, TEN)
    assert find_program().path == in_path


def test_trtexec_is_preferred_unless_asked_otherwise(bare: Path) -> None:
    rtx = install(bare, RTX)
    assert find_program().path == rtx
    trtexec = install(bare.parent / "usual", ELEVEN)
    assert find_program().path == trtexec
    assert find_program(names=["tensorrt_rtx"]).path == rtx


def test_beside_this_python(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = install(bare.parent / "venv", ELEVEN)
    monkeypatch.setattr(program_module.sysconfig, "get_path", lambda name: str(path.parent))  # pyright: ignore[reportUnknownLambdaType]
    assert find_program().path == path


def test_without_the_program_the_error_says_how_to_get_it(bare: Path) -> None:
    assert shutil.which("trtexec") is None
    with pytest.raises(RuntimeUnavailableError) as caught:
        find_program()
    message = str(caught.value)
    assert "no trtexec or tensorrt_rtx found" in message
    for way in (
        "tar archive",
        "Debian or RPM package (libnvinfer-bin)",
        "container",
        "pip wheels contain neither",
        "TRT_ROOT",
    ):
        assert way in message


def test_an_explicit_path_must_be_a_program(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no program"):
        find_program(tmp_path / "missing")
    text = tmp_path / "trtexec"
    text.write_text("not executable")
    with pytest.raises(UsageError, match="is no program"):
        find_program(text)


def test_another_program_is_recognised(tmp_path: Path) -> None:
    path = install_script(tmp_path / "bin" / "trtexec", "#!/bin/sh\necho Hello\n")
    with pytest.raises(RuntimeUnavailableError, match=r"does not say which TensorRT it is of, but: Hello"):
        find_program(path)


def test_a_missing_library_is_named_with_the_way_out(tmp_path: Path) -> None:
    words = "error while loading shared libraries: libnvinfer.so.11: cannot open shared object file"
    path = install_script(tmp_path / "bin" / "trtexec", f"#!/bin/sh\necho '{words}' >&2\nexit 127\n")
    with pytest.raises(RuntimeUnavailableError, match=rf"libnvinfer\.so\.11.*add {tmp_path}/lib to LD_LIBRARY_PATH"):
        find_program(path)


def test_a_program_of_another_machine_does_not_start(tmp_path: Path) -> None:
    path = install_script(tmp_path / "trtexec", "\x7fELF of another machine")
    with pytest.raises(RuntimeUnavailableError, match="does not start"):
        find_program(path)
