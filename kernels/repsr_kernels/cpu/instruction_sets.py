"""Instruction sets that the engine's library and this processor both have, and in what precisions each computes."""

from __future__ import annotations

import itertools
import os
from typing import Literal, get_args

from repsr_kernels.cpu.shared_library import library
from repsr_kernels.errors import RuntimeUnavailableError, UsageError

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""In the order of `repsr_precision`."""
VARIABLE = "REPSR_INSTRUCTION_SET"
"""Of the environment: the instruction set that every network takes which is not told one."""


def instruction_sets() -> dict[str, tuple[Precision, ...]]:
    """Names of those that are here, slowest first, with what each computes in.

    Raises:
        RuntimeUnavailableError: there is no engine here.
    """
    engine = library()
    found: dict[str, tuple[Precision, ...]] = {}
    names = map(engine.repsr_instruction_set, itertools.count())
    for name in itertools.takewhile(lambda name: name is not None, names):
        if bits := engine.repsr_precisions(name):
            found[name.decode()] = tuple(each for number, each in enumerate(PRECISIONS) if bits >> number & 1)
    return found


def precisions() -> tuple[Precision, ...]:
    """Those in which any of them computes.

    Raises:
        RuntimeUnavailableError: there is no engine here.
    """
    there = {each for computes in instruction_sets().values() for each in computes}
    return tuple(each for each in PRECISIONS if each in there)


def peak_macs_per_s(instruction_set: str, precision: Precision, *, threads: int, seconds: float) -> float:
    """Multiply-adds a second of the instruction alone, on so many threads at once: the bound of every convolution.

    Args:
        threads: 1 or more.
        seconds: about how long to measure, up to an hour.

    Raises:
        RuntimeUnavailableError: there is no such instruction here, or no engine.
        UsageError: no such precision; threads or seconds that make no sense.
    """
    _check_there(instruction_set, precision, "the instruction set is")
    if not 0 < seconds <= 3600:
        raise UsageError(f"seconds is {seconds}; expected more than 0, and at most an hour")
    number = number_of(precision)
    return library().repsr_peak(instruction_set.encode(), number, checked_count("threads", threads, least=1), seconds)


def number_of(precision: Precision) -> int:
    """Its `repsr_precision`.

    Raises:
        UsageError: there is none of this name.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS.index(precision)


def chosen(instruction_set: str | None, precision: Precision) -> str | None:
    """The instruction set that was asked for, by name or by the environment's `VARIABLE`; None where neither was.

    Raises:
        RuntimeUnavailableError: it is not here, or does not compute in this precision; or there is no engine.
    """
    said = "the instruction set is"
    if instruction_set is None:
        instruction_set, said = os.environ.get(VARIABLE), f"{VARIABLE} is"
    if not instruction_set:
        return None
    _check_there(instruction_set, precision, said)
    return instruction_set


def checked_count(name: str, value: int, *, least: int) -> int:
    """The value, which the library takes in 32 bits.

    Raises:
        UsageError: it is less than `least`, or larger.
    """
    if not least <= value < 2**31:
        raise UsageError(f"{name} is {value}; expected {least} or more, less than 2^31")
    return value


def _check_there(instruction_set: str, precision: Precision, said: str) -> None:
    number_of(precision)
    there = instruction_sets()
    if instruction_set not in there:
        raise RuntimeUnavailableError(
            f"{said} {instruction_set!r}, which this processor or this library does not have; expected one of "
            f"{', '.join(there)}"
        )
    if precision not in there[instruction_set]:
        able = ", ".join(name for name, computes in there.items() if precision in computes)
        raise RuntimeUnavailableError(
            f"{said} {instruction_set!r}, which does not compute in {precision}; "
            + (f"expected one of {able}" if able else "none here does")
        )
