"""Lines as they come, and no process left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec import process
from repsr_deploy.bench.trtexec.process import run_program
from repsr_deploy.errors import RepsrError, RuntimeUnavailableError
from tests.bench.trtexec.stand_in import TEN, install, install_script


def ignore(line: str) -> None:
    pass


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_for_end(*pids: int) -> bool:
    end = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(is_running, pids))


def test_both_streams_in_order_and_the_code(tmp_path: Path) -> None:
    script = install_script(tmp_path / "p", "#!/bin/sh\necho one\necho two >&2\necho three  \npwd\nexit 7\n")
    seen: list[str] = []
    finished = run_program([str(script)], folder=tmp_path, on_line=seen.append)
    assert finished.code == 7
    assert finished.lines == ("one", "two", "three", str(tmp_path))
    assert seen == list(finished.lines)


def test_lines_come_while_it_runs(tmp_path: Path) -> None:
    """The second line waits for a file that only the first line's arrival makes."""
    text = f"#!/bin/sh\necho first\nwhile [ ! -e {tmp_path}/seen ]; do sleep 0.01; done\necho second\n"
    script = install_script(tmp_path / "p", text)
    finished = run_program(
        [str(script)], folder=tmp_path, on_line=lambda line: (tmp_path / "seen").touch(), timeout_s=20
    )
    assert finished.lines == ("first", "second")


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    script = install_script(tmp_path / "p", "#!/bin/sh\nprintf 'a\\377b\\n'\n")
    assert run_program([str(script)], folder=tmp_path, on_line=ignore).lines == ("a\N{REPLACEMENT CHARACTER}b",)


def test_it_reads_nothing_from_the_terminal(tmp_path: Path) -> None:
    script = install_script(tmp_path / "p", "#!/bin/sh\ncat\necho end\n")
    assert run_program([str(script)], folder=tmp_path, on_line=ignore, timeout_s=20).lines == ("end",)


def test_a_signal_is_a_negative_code(tmp_path: Path) -> None:
    script = install_script(tmp_path / "p", "#!/bin/sh\nkill -SEGV $$\n")
    assert run_program([str(script)], folder=tmp_path, on_line=ignore).code == -11


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"cannot start .*missing"):
        run_program([str(tmp_path / "missing")], folder=tmp_path, on_line=ignore)


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_an_exception_ends_the_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException], stubborn: bool
) -> None:
    monkeypatch.setattr(process, "STOP_GRACE_S", 0.2)
    program = install(tmp_path, TEN, hangs=True, stubborn=stubborn)
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.extend(map(int, line.split()[1:3]))
        assert all(map(is_running, pids))
        raise raised

    with pytest.raises(raised):
        run_program([str(program)], folder=tmp_path, on_line=interrupt)
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert wait_for_end(*pids)


def test_a_timeout_ends_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_GRACE_S", 0.2)
    program = install(tmp_path, TEN, hangs=True, stubborn=True)
    seen: list[str] = []
    with pytest.raises(
        RepsrError, match=r"trtexec was stopped after its timeout of 1 s; its last words: processes \d+"
    ):
        run_program([str(program)], folder=tmp_path, on_line=seen.append, timeout_s=1)
    assert wait_for_end(*map(int, seen[0].split()[1:3]))


def test_a_timeout_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    script = install_script(tmp_path / "p", f"#!{sys.executable} -IS\nprint('done')\n")
    assert run_program([str(script)], folder=tmp_path, on_line=ignore, timeout_s=30).lines == ("done",)
