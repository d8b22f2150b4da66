"""What the service counts (`/metrics`)."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from checks.wire import Address, get

PREFIX = "repsr_serve_"


class Counts:
    """All samples at one moment, summed over their labels. Names without the prefix."""

    def __init__(self, text: str) -> None:
        self._sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removeprefix(PREFIX)
                self._sums[name] = self._sums.get(name, 0.0) + sample.value

    def __getitem__(self, name: str) -> float:
        """One sample.

        Raises:
            KeyError: the service tells of no such thing.
        """
        return self._sums[name]

    def get(self, name: str) -> float:
        """One sample; 0 where it was not counted yet."""
        return self._sums.get(name, 0.0)


async def counts(address: Address) -> Counts:
    """Ask for them.

    Raises:
        ValueError: the service does not tell.
    """
    answer = await get(address, "/metrics")
    if answer.status != 200:
        raise ValueError(f"/metrics is answered {answer.status}: {answer.body[:200]!r}")
    return Counts(answer.body.decode())
