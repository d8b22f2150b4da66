"""Every kernel of every instruction set that this processor has, against plain loops (`kernels_check.cpp`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_kernels.cpu.network import instruction_sets
from tests.kernels.cpu.kernel_programs import check_program, kernel_objects, planted_object, said_by

WORDS = {"fp32": "floats", "bf16": "halves", "int8": "codes"}
PLANTED = [
    ("pixels.hpp", "for (int k = pixels; k < made; ++k)", "for (int k = pixels; k < 0; ++k)"),
    ("pixels.hpp", "L::load_floats(skip, count)", "L::load_floats(skip)"),
    ("pixels.hpp", "if (to == part) memcpy(out, part,", "if (to == part) memcpy(out, part, 1 +"),
]
"""Text, what it says, and what it could say by mistake: slack taken for sums, a skip read too far, a byte written too
far."""


def test_every_kernel_gives_what_plain_loops_give() -> None:
    status, said = said_by(check_program(kernel_objects()), seed=1, rounds=60)
    assert status == 0, said
    checked = {name: set(words.split()) for name, _, words in (line.partition(":") for line in said.splitlines())}
    assert checked == {
        name: {WORDS[precision] for precision in precisions} for name, precisions in instruction_sets().items()
    }


@pytest.mark.parametrize(("file", "right", "wrong"), PLANTED)
def test_the_check_finds_a_planted_error(tmp_path: Path, file: str, right: str, wrong: str) -> None:
    program = check_program({"portable": planted_object("portable", file, right, wrong, tmp_path)})
    status, said = said_by(program, seed=1, rounds=20)
    assert status != 0, said
