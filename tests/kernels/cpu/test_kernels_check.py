"""Every kernel of every instruction set that this processor has, against plain loops (`kernels_check.cpp`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from repsr_kernels.cpu.network import instruction_sets
from tests.kernels.cpu.programs import make_program, objects_of_kernels, planted_object, said_by

WORDS = {"fp32": "floats", "bf16": "halves", "int8": "codes"}
PLANTED = [
    ("pixels.hpp", "for (int k = pixels; k < made; ++k)", "for (int k = pixels; k < 0; ++k)"),
    ("pixels.hpp", "L::load_floats(skip, count)", "L::load_floats(skip)"),
    ("pixels.hpp", "if (to == part) memcpy(out, part,", "if (to == part) memcpy(out, part, 1 +"),
]
"""Text, what it says, and what it could say by mistake: slack taken for sums, a skip read too far, a byte written too
far."""


def test_every_kernel_gives_what_plain_loops_give() -> None:
    said = said_by(_check(objects_of_kernels().values()), "1", "60")
    checked = {name: set(words.split()) for name, _, words in (line.partition(":") for line in said.splitlines())}
    assert checked == {
        name: {WORDS[precision] for precision in precisions} for name, precisions in instruction_sets().items()
    }


@pytest.mark.parametrize(("file", "right", "wrong"), PLANTED)
def test_the_check_finds_a_planted_error(file: str, right: str, wrong: str) -> None:
    planted = {**objects_of_kernels(), "portable": planted_object("portable", file, right, wrong)}
    with pytest.raises(AssertionError):
        said_by(_check(planted.values()), "1", "5")


def _check(objects: Iterable[Path]) -> Path:
    """The program with one object for each instruction set that the compiler knows."""
    return make_program(
        "kernels_check", lambda unit: [] if unit.name == "processor.cpp" else None,
        flags=("-O1", "-Wshadow"), objects=list(objects),
    )  # fmt: skip
