"""How much one dot product of a vector does, by instruction set: multiply-adds of an instruction."""

from __future__ import annotations

from collections.abc import Mapping

from repsr_kernels.cpu.instruction_sets import Precision

BITS: Mapping[str, int] = {
    "portable": 128, "avx2": 256, "avxvnni": 256, "avx512": 512, "avx512vnni": 512, "avx512bf16": 512,
    "neon": 128, "neon_dotprod": 128, "neon_bf16": 128,
}  # fmt: skip
"""Of a vector."""
PAIRS_OF_CODES = ("portable", "avx2", "avx512")
"""Sets without a dot product of bytes: codes are 16 bits wide there."""


def group_of(instruction_set: str, precision: Precision) -> int:
    """Channels that a 32-bit word holds, which one instruction multiplies together."""
    match precision:
        case "int8":
            return 2 if instruction_set in PAIRS_OF_CODES else 4
        case "bf16":
            return 2
        case _:
            return 1


def macs_of(instruction_set: str, precision: Precision) -> int:
    """Multiply-adds of one instruction."""
    return BITS[instruction_set] // 32 * group_of(instruction_set, precision)
