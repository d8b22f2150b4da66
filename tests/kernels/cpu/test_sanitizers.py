"""Sanitizers find nothing in random networks, and would find a buffer that is too short."""

from __future__ import annotations

import pytest

from tests.kernels.cpu.sanitizers import SANITIZERS, sanitized, why_unavailable


def _require(name: str) -> None:
    if reason := why_unavailable(name):
        pytest.skip(f"the sanitizer of {name} cannot be used: {reason}")


@pytest.mark.parametrize("name", SANITIZERS)
def test_nothing_is_found_in_random_networks(name: str) -> None:
    _require(name)
    tallies, report = sanitized(name, networks=8, seed=9, macs=200_000, quick=True)
    assert report == ""
    assert sum(tally.runs for tally in tallies.values()) > 80
    assert ("portable", "fp32") in tallies
    assert ("portable", "int8") in tallies


def test_a_short_buffer_is_found() -> None:
    _require("memory")
    tallies, report = sanitized("memory", networks=8, seed=9, macs=200_000, quick=True, planted=True)
    assert tallies == {}
    assert "AddressSanitizer: heap-buffer-overflow" in report
    assert "repsr::cpu" in report, "found elsewhere than where the engine writes"
