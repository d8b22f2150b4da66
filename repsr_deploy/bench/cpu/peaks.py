"""What the processor can do at most: its instructions alone, and matrix products, measured again and again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from repsr_deploy.bench.cpu.contestants import NATIVE, Contestant
from repsr_deploy.bench.peak import ProcessorPeak
from repsr_kernels.cpu.instruction_sets import Precision, peak_macs_per_s

Instruction = tuple[str, Precision, int]
"""Instruction set, precision, threads."""
DOTS_PER_CYCLE = 2
"""Of processors with AVX-512 and of most others: two units for such instructions."""
BITS: Mapping[str, int] = {
    "portable": 128, "avx2": 256, "avxvnni": 256, "avx512": 512, "avx512vnni": 512, "avx512bf16": 512,
    "neon": 128, "neon_dotprod": 128, "neon_bf16": 128,
}  # fmt: skip
"""Of a vector."""
PAIRS_OF_CODES = ("portable", "avx2", "avx512")
"""Sets without a dot product of bytes: codes are 16 bits wide there."""


class Peaks:
    """The best seen so far, in multiply-adds a second.

    Args:
        contestants: whose instructions and precisions count.
        threads: of the matrix products.
    """

    def __init__(self, contestants: Collection[Contestant], threads: int) -> None:
        self.instructions: dict[Instruction, float] = dict.fromkeys(map(instruction_of, _engines(contestants)), 0.0)
        self._products = ProcessorPeak(threads, {one.computes for one in contestants})

    @property
    def products(self) -> dict[str, float]:
        """Of matrix products in OpenVINO, by precision."""
        return self._products.macs_per_s

    def measure(self, seconds: float) -> None:
        """Look once more, for so long each; a disturbance does not lower a peak."""
        self._products.measure(seconds)
        for (name, precision, threads), best in self.instructions.items():
            rate = peak_macs_per_s(name, precision, threads=threads, seconds=seconds)
            self.instructions[name, precision, threads] = max(best, rate)

    def to_dict(self) -> dict[str, float]:
        """By names for people: `bf16`, `bf16 by avx512bf16, 2 threads`."""
        return self.products | {
            f"{precision} by {name}, {threads} thread{'s' * (threads > 1)}": rate
            for (name, precision, threads), rate in self.instructions.items()
        }


def macs_of(instruction_set: str, precision: Precision) -> int:
    """Multiply-adds of one dot product of a vector: of each 32-bit word's one, two or four channels."""
    match precision:
        case "int8":
            channels = 2 if instruction_set in PAIRS_OF_CODES else 4
        case "bf16":
            channels = 2
        case "fp32":
            channels = 1
    return BITS[instruction_set] // 32 * channels


def clock_notes(instructions: Mapping[Instruction, float]) -> list[str]:
    """The processor's clock, as the peak of the fastest instruction tells it; nothing where none was measured."""
    clocks_hz = {
        (name, precision): rate / threads / macs_of(name, precision) / DOTS_PER_CYCLE
        for (name, precision, threads), rate in instructions.items()
    }
    if not any(clocks_hz.values()):
        return []
    (name, precision), clock_hz = max(clocks_hz.items(), key=lambda item: item[1])
    return [
        f"the peak of {precision} by {name} means {clock_hz / 1e9:.1f} GHz, if {DOTS_PER_CYCLE} dot products leave in "
        "every cycle; cycles/dot counts such cycles"
    ]


def instruction_of(contestant: Contestant) -> Instruction:
    """What bounds one of the engine's rows."""
    return contestant.instruction_set, contestant.computes, contestant.threads


def _engines(contestants: Collection[Contestant]) -> list[Contestant]:
    return [one for one in contestants if one.runtime == NATIVE]
