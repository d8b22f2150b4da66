"""The fuzzing target of the model reader can be made, and finds nothing in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_kernels.cpu import build
from tests.kernels.cpu import fuzz
from tests.kernels.cpu.fuzz import Program, made_program
from tests.kernels.cpu.programs import PARTS

SECONDS = 1


@pytest.fixture(scope="module")
def program() -> Program:
    if (why := fuzz.why_unavailable()) is not None:
        pytest.skip(why)
    return made_program(with_engine=False)


def test_nothing_is_found_in_a_moment(program: Program, tmp_path: Path) -> None:
    corpus, findings = tmp_path / "corpus", tmp_path / "findings"
    corpus.mkdir()
    findings.mkdir()
    count, report = fuzz.fuzz(program, seconds=SECONDS, corpus=corpus, findings=findings)
    assert report == ""
    assert count > 100


def test_all_files_of_the_reader_are_in_the_target() -> None:
    """Or the target would not link; and none is there that is no more."""
    assert all((build.CSRC / f"{name}.cpp").exists() for part in PARTS.values() for name in part)


def test_a_report_is_one(tmp_path: Path) -> None:
    """A program that fails is a finding; one that does not is none."""
    broken = tmp_path / "broken"
    broken.write_text("#!/usr/bin/env bash\necho 'ERROR: AddressSanitizer: heap-buffer-overflow'\nexit 77\n")
    broken.chmod(0o755)
    count, report = fuzz.fuzz(Program(path=broken, is_libfuzzer=True), seconds=1, corpus=tmp_path, findings=tmp_path)
    assert count == 0
    assert "heap-buffer-overflow" in report
