"""The kernels for Arm, on an emulated processor: the same bits as on this one where sums are of fp32 or of codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from repsr_kernels.cpu import build
from tests.kernels.cpu.native_programs import Tallies, is_native, native_program, run_native

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def _tallies(*command: str | Path, networks: int = 10) -> Tallies:
    tallies, wrong = run_native([*map(str, command)], networks=networks, seed=4, macs=30_000)
    assert wrong == ""
    return tallies


def _soon_compiled(unit: build.Unit) -> list[str]:
    return ["-O1" if is_native(unit) or unit.name.startswith("isa_") else "-O0"]


@pytest.fixture(scope="module")
def program() -> Path:
    """`native_runs` for AArch64, with the C library inside."""
    for needed in (COMPILER, EMULATOR):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    return native_program([COMPILER], _soon_compiled, ["-static"])


@pytest.fixture(scope="module")
def on_arm(program: Path) -> Tallies:
    return _tallies(EMULATOR, "-cpu", "max", program)


def test_every_instruction_set_computes_in_all_that_it_has(on_arm: Tallies) -> None:
    assert set(on_arm) == {
        ("portable", "fp32"), ("portable", "int8"),
        ("neon", "fp32"), ("neon", "int8"),
        ("neon_dotprod", "fp32"), ("neon_dotprod", "int8"),
        ("neon_bf16", "fp32"), ("neon_bf16", "bf16"), ("neon_bf16", "int8"),
    }  # fmt: skip
    assert all(tally.runs >= 4 * tally.networks > 0 for tally in on_arm.values())


def test_the_same_bits_as_on_this_processor(on_arm: Tallies) -> None:
    here = _tallies(native_program(build.find_compiler(), lambda unit: ["-O1"] if is_native(unit) else []))
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
def test_older_processors_are_given_what_they_have(program: Path, processor: str, there: set[str]) -> None:
    assert {name for name, _ in _tallies(EMULATOR, "-cpu", processor, program, networks=1)} == there
