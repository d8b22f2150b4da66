"""constraints.txt gives the exact version of everything that the development environment needs."""

from __future__ import annotations

from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CONSTRAINTS = (Path(__file__).parents[1] / "constraints.txt").read_text()


def needed(requirement: str) -> dict[str, str]:
    """Name to installed version (without a local part, `+cpu`) of all that a requirement brings, itself apart."""
    found: dict[str, str] = {}
    todo, done = [Requirement(requirement)], {requirement}
    while todo:
        parent = todo.pop()
        for text in requires(parent.name) or []:
            child = Requirement(text)
            wanted = child.marker is None or any(
                child.marker.evaluate({"extra": name}) for name in parent.extras | {""}
            )
            if wanted and text not in done:
                done.add(text)
                todo.append(child)
                found[canonicalize_name(child.name)] = Version(version(child.name)).public
    return {name: number for name, number in found.items() if name != "repsr-deploy"}


def unpinned(constraints: str) -> set[str]:
    """What is needed here but not pinned to the installed version."""
    return {f"{name}=={number}" for name, number in needed("repsr-deploy[dev]").items()} - set(constraints.splitlines())


def test_everything_is_pinned() -> None:
    assert unpinned(CONSTRAINTS) == set()


def test_a_missing_pin_is_found() -> None:
    pin = f"sympy=={version('sympy')}"  # a dependency of a dependency
    assert unpinned(CONSTRAINTS.replace(pin, "")) == {pin}
