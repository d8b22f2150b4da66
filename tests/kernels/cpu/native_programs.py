"""The engine and `native_runs.cpp` as one program, with whatever flags: under a sanitizer, or for another processor."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"(\w+) (\w+) networks=(\d+) runs=(\d+) checksum=(\w+) bound_used=([\d.]+)")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What `native_runs` says about one instruction set in one precision."""

    networks: int
    runs: int
    checksum: str
    """Of all results."""
    bound_used: float
    """By the result that came nearest to its own."""


Tallies = dict[tuple[str, str], Tally]
"""By instruction set and precision."""


def run_native(
    command: Sequence[str],
    *,
    networks: int,
    seed: int = 1,
    macs: int | None = None,
    environment: Mapping[str, str] | None = None,
    time_limit_s: float = 7200,
) -> tuple[Tallies, str]:
    """Run it on random networks: what it counted, and all that it says to be wrong, which is nothing at best.

    Args:
        macs: multiply-adds for one picture, about.
    """
    options = ["--seed", str(seed), "--networks", str(networks), *([] if macs is None else ["--macs", str(macs)])]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        env=os.environ | dict(environment or {}),
    ) as process:  # fmt: skip
        try:
            said, wrong = process.communicate(timeout=time_limit_s)
        except BaseException:
            process.kill()
            raise
    if process.returncode and not wrong:
        wrong = f"exit code {process.returncode}"
    tallies = {
        (name, precision): Tally(networks=int(count), runs=int(runs), checksum=checksum, bound_used=float(used))
        for name, precision, count, runs, checksum, used in _LINE.findall(said)
    }
    return tallies, wrong
