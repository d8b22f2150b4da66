"""Why a run failed, from real words."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec.failure import why_failed
from repsr_deploy.bench.trtexec.process import Finished
from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError
from tests.bench.trtexec.stand_in import LOGS, TEN

PROGRAM = Path("/opt/tensorrt/bin/trtexec")


def failure_of(name: str, code: int = 1) -> RepsrError:
    error = why_failed(PROGRAM, Finished(code, tuple((LOGS / "failures" / name).read_text().splitlines())))
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("name", "kind", "words", "advice"),
    [
        ("unknown-option.log", RepsrError, "Unknown option: --fp16", "this version does not know the flag"),
        ("out-of-memory.log", RepsrError, "Building engine failed", "the GPU has too little free memory"),
        ("no-gpu.log", RuntimeUnavailableError, "Cannot find any available devices", "no CUDA device is visible"),
        ("old-driver.log", RuntimeUnavailableError, "driver version is insufficient", "the NVIDIA driver is too old"),
        ("missing-library.log", RuntimeUnavailableError, "libnvinfer_plugin.so.10", "to LD_LIBRARY_PATH"),
        ("not-parsed.log", ModelFileError, "Parsing model failed", "TensorRT cannot read this model"),
        ("other-version.log", RepsrError, "expecting library version", "is of another TensorRT or GPU"),
    ],
)
def test_known_causes(name: str, kind: type[RepsrError], words: str, advice: str) -> None:
    error = failure_of(name)
    assert type(error) is kind
    message = str(error)
    assert message.startswith("trtexec failed with code 1: ")
    assert words in message
    assert advice in message
    assert message.count(" | ") < 4


def test_an_importer_that_only_warns_is_not_the_cause() -> None:
    lines = [
        "[09/08/2026-10:20:40] [W] [TRT] ModelImporter.cpp:1047: Make sure output z has Int64 binding.",
        "[09/08/2026-10:20:41] [E] Error[1]: Error Code 1: Cuda Runtime (out of memory)",
    ]
    error = why_failed(PROGRAM, Finished(1, tuple(lines)))
    assert "too little free memory" in str(error)
    assert "Int64" not in str(error)


def test_an_unknown_cause_keeps_the_words() -> None:
    error = why_failed(PROGRAM, Finished(3, ("[E] One", "[E] Two", "[E] One", "[I] nothing")))
    assert str(error) == "trtexec failed with code 3: One | Two"


def test_a_program_that_dies_without_a_word() -> None:
    assert str(why_failed(PROGRAM, Finished(-11, ()))) == "trtexec was ended by SIGSEGV: it printed nothing"
    assert "SIGKILL: === Trace details ===" in str(why_failed(PROGRAM, Finished(-9, ("[I] === Trace details ===", ""))))


def test_passing_needs_the_code_and_the_word() -> None:
    lines = tuple(TEN.lines())
    assert why_failed(PROGRAM, Finished(0, lines)) is None
    assert "ended without saying that it passed" in str(why_failed(PROGRAM, Finished(0, lines[:-1])))
    assert "failed with code 1" in str(why_failed(PROGRAM, Finished(1, lines)))
    error_beside = ("[09/08/2026-10:20:41] [E] Error[9]: Skipping tactic 0x0 due to exception", *lines)
    assert why_failed(PROGRAM, Finished(0, error_beside)) is None
