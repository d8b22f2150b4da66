"""Clocks of a GPU, as NVIDIA's program says them; a stand-in, as there is no such program without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.bench.machine import gpu_clocks


def install(folder: Path, text: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_clocks_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_clocks() == []
    install(tmp_path, 'echo "$1"; echo "1980 MHz, 1980 MHz"')
    query, clocks = gpu_clocks()
    assert query.startswith("--query-gpu=clocks.sm,clocks.max.sm,clocks.mem")
    assert clocks == "1980 MHz, 1980 MHz"
    install(tmp_path, "exit 9")
    assert gpu_clocks() == ["unknown: nvidia-smi is here but fails"]
