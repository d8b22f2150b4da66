"""The kernels for Arm, on an emulated processor: the same bits as on this one where sums are of fp32 or of codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from repsr_kernels.cpu import build
from tests.kernels.cpu.native_programs import Tallies, run_native
from tests.kernels.cpu.programs import make_program

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def _tallies(*command: str | Path, networks: int = 10) -> Tallies:
    tallies, wrong = run_native([*map(str, command)], networks=networks, seed=4, macs=30_000)
    assert wrong == ""
    return tallies


def _soon_compiled(unit: build.Unit) -> list[str]:
    return ["-O1" if unit.name == "isa_neon_bf16.cpp" else "-O0"]  # which has numbers of nearly all types


@pytest.fixture(scope="module")
def for_arm() -> Path:
    """`native_runs` for AArch64, with the C library inside."""
    for needed in (COMPILER, EMULATOR):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    return make_program(
        "native_runs",
        _soon_compiled,
        link=["-static"],
        whole={"reader": ["-O0"], "driver": ["-O0"]},
        compiler=[COMPILER],
    )


@pytest.fixture(scope="module")
def on_arm(for_arm: Path) -> Tallies:
    return _tallies(EMULATOR, "-cpu", "max", for_arm)


def test_every_instruction_set_computes_in_all_that_it_has(on_arm: Tallies) -> None:
    assert set(on_arm) == {
        ("portable", "fp32"), ("portable", "int8"),
        ("neon", "fp32"), ("neon", "int8"),
        ("neon_dotprod", "fp32"), ("neon_dotprod", "int8"),
        ("neon_bf16", "fp32"), ("neon_bf16", "bf16"), ("neon_bf16", "int8"),
    }  # fmt: skip
    assert all(tally.runs >= 4 * tally.networks > 0 for tally in on_arm.values())


def test_the_same_bits_as_on_this_processor(on_arm: Tallies) -> None:
    here = _tallies(make_program("native_runs", lambda _: []))
    if {name for name, _ in here} == {"portable"}:
        pytest.skip("this processor has no instruction set that fuses multiply-adds")
    for precision in ("fp32", "int8"):
        found = {
            tally.checksum
            for (name, computed), tally in (*on_arm.items(), *here.items())
            if computed == precision and name != "portable"
        }
        assert len(found) == 1, precision


@pytest.mark.parametrize(
    ("processor", "there"),
    [("cortex-a57", {"portable", "neon"}), ("neoverse-n1", {"portable", "neon", "neon_dotprod"})],
)
def test_older_processors_are_given_what_they_have(for_arm: Path, processor: str, there: set[str]) -> None:
    assert {name for name, _ in _tallies(EMULATOR, "-cpu", processor, for_arm, networks=1)} == there
