"""What the objects of instruction sets show to the linker: nothing that others could be linked with."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.kernels.cpu.programs import objects_of_kernels

ALLOWED = {"memcpy", "memset", "memmove", "fmaf", "_GLOBAL_OFFSET_TABLE_"}
"""Of C libraries: compiled for every processor that they run on."""


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
def test_an_instruction_set_shows_its_table_alone() -> None:
    for name, made in objects_of_kernels().items():
        listed = subprocess.run(["nm", "-C", str(made)], capture_output=True, text=True, check=True, timeout=60).stdout
        symbols = re.findall(r"^(?:[0-9a-f]+)? +(\w) (.*)$", listed, re.MULTILINE)
        assert len(symbols) > 10, listed[:500]
        shown = [symbol for kind, symbol in symbols if kind.isupper() and kind != "U"]
        assert shown == [f"repsr::cpu::kernels_{name}()"], f"{name}: {shown}"
        assert not [symbol for kind, symbol in symbols if kind in "uvwi"], name
        assert {symbol for kind, symbol in symbols if kind == "U"} <= ALLOWED, name
