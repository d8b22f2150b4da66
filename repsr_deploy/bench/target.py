"""A figure that should be reached, and whether it was."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Target:
    """One of them: a bound from below, or from above."""

    name: str
    bound: float
    reached: float | None
    """None where it was not measured."""
    is_limit: bool = False
    """Whether the bound is the most that is allowed; else the least that is wanted."""

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None where that was not measured."""
        if self.reached is None:
            return None
        return self.reached <= self.bound if self.is_limit else self.reached >= self.bound

    def __str__(self) -> str:
        verdict = {True: "met", False: "not met", None: "not measured"}[self.met]
        found = "" if self.reached is None else f", found {self.reached:.2f}"
        return f"{verdict}: {self.name}: {self.bound:g} or {'less' if self.is_limit else 'more'}{found}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "met": self.met}
