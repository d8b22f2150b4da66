"""`scripts/serve_check`: runs checks, says what came out, keeps it."""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from checks.hostile.attack import hostile
from checks.kill import kill
from checks.overload import overload
from checks.restart import restart
from checks.terminate import terminate
from checks.throughput import throughput
from checks.verdict import Findings, said, write
from repsr_deploy.bench.machine import describe_machine
from repsr_deploy.bench.report import utc_now
from repsr_deploy.host import package_version

CHECKS: Mapping[str, Callable[..., Findings]] = {
    "throughput": throughput,
    "overload": overload,
    "hostile": hostile,
    "terminate": terminate,
    "kill": kill,
    "jobs-restart": restart,
}
PACKAGES = ("fastapi", "starlette", "uvicorn", "h11", "pydantic")
OUT = Path("docs/results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks that are asked for; returns the exit status: 1 where a requirement is missed."""
    parser = argparse.ArgumentParser(
        prog="scripts/serve_check",
        description="Load, fault and hostile-input checks of a real repsr-serve on loopback.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(CHECKS)}; all without")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="for serve-NAME.json and .md; %(default)s")
    parser.add_argument("--seconds", type=float, help="of load: throughput, overload, terminate")
    parser.add_argument("--count", type=int, help="hostile requests")
    parser.add_argument("--examples", type=int, help="of schemathesis, for each operation and kind; 0 for none")
    parser.add_argument("--threads", type=int, help="of the runtime: throughput")
    parser.add_argument("--runtime", help="backend: throughput")
    parser.add_argument("--kills", type=int, help="of workers (kill), of the service (jobs-restart)")
    parser.add_argument("--seed", type=int, help="of everything that is left to chance")
    options = vars(parser.parse_args(arguments))
    names, out = options.pop("names"), options.pop("out")
    unknown = sorted(set(names) - set(CHECKS))
    if unknown:
        parser.error(f"unknown checks {', '.join(unknown)}; expected some of {', '.join(CHECKS)}")
    given = {name: value for name, value in options.items() if value is not None}
    command = shlex.join(["scripts/serve_check", *(sys.argv[1:] if arguments is None else arguments)])
    passed = True
    for name in names or CHECKS:
        machine, created = _machine(given.get("threads", 1)), utc_now()
        findings = CHECKS[name](**_taken(CHECKS[name], given))
        print(said(findings), flush=True)  # noqa: T201
        write(findings, out, command=command, created=created, machine=machine)
        passed = passed and findings.passed
    return 0 if passed else 1


def _machine(threads: int) -> dict[str, Any]:
    """What it was measured on, the server's own packages included."""
    machine = describe_machine(threads)
    server = {name: number for name in PACKAGES if (number := package_version(name)) is not None}
    return machine | {"packages": {**machine["packages"], **server}}


def _taken(check: Callable[..., Findings], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a check has."""
    parameters = inspect.signature(check).parameters
    return {name: value for name, value in given.items() if name in parameters}


if __name__ == "__main__":
    sys.exit(main())
