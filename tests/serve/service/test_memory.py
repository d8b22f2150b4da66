"""The estimate of a picture's memory, against what the processes really take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.model_info import ModelInfo
from repsr_serve.batcher.plan import BatchPlan
from repsr_serve.codec import Header
from repsr_serve.memory import picture_bytes
from repsr_serve.pictures import Order
from repsr_serve.plan import plan_picture
from tests.serve.service import memory_probe

INFO = ModelInfo(name="net", scale=2, halo=6, width=16)
BATCHES = BatchPlan(tile_side=None, capacity=1, least=1, concurrency=1)


@pytest.mark.slow  # some seconds of pictures of about a megapixel
def test_what_is_reserved_bounds_what_is_taken() -> None:
    path = os.pathsep.join(["serve", *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", memory_probe.__name__],
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    peaks: dict[str, dict[str, int]] = json.loads(done.stdout)
    assert peaks.pop("left")["grown"] < 100e6  # of the runtime, for large tiles in float32
    assert peaks.keys() == memory_probe.KINDS.keys()
    for name, peak in peaks.items():
        assert peak["grown"] < peak["reserved"], (name, peaks)
    assert max(peak["grown"] / peak["reserved"] for peak in peaks.values()) > 0.5, peaks


def needed(
    *, batches: BatchPlan = BATCHES, info: ModelInfo = INFO, factor: float = 2, form: Any = "png", **header: Any
) -> int:
    usual: dict[str, Any] = {"format": "png", "width": 900, "height": 700, "channels": 3, "sample_bytes": 1}
    source = Header(**usual | header)
    plan = plan_picture(source, Order(factor=factor, format=form), info, max_pixels=10**9, max_factor=16)
    return picture_bytes(plan, info, batches)


def test_everything_that_takes_memory_counts() -> None:
    base = needed()
    assert base > 900 * 700 * 3 * 4  # the result alone
    assert needed(width=1800) > 1.8 * base
    assert needed(channels=4) > base
    assert needed(sample_bytes=2) > 1.8 * base
    assert needed(factor=3) > needed(factor=4)  # the network's picture is the same, and is resized
    assert needed(factor=4.1) > 3 * needed(factor=4)  # it runs three times
    assert needed(factor=1.9) > base
    assert needed(form="webp") > base
    assert needed(form="jpeg") < needed(form="jpeg", channels=4)
    assert needed(info=replace(INFO, halo=None)) > 100e6
    wide = replace(BATCHES, tile_side=320, capacity=8)
    assert needed(batches=wide) > base
    assert needed(batches=wide, width=10, height=10) < 2e6


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(("channels", "sample_bytes"), [(1, 1), (3, 1), (4, 1), (1, 2), (3, 2), (4, 2)])
def test_the_estimate_grows_with_every_side(form: Any, channels: int, sample_bytes: int) -> None:
    sizes = [(10, 10), (10, 300), (301, 299), (1000, 900), (3000, 1000)]
    made = [needed(form=form, channels=channels, sample_bytes=sample_bytes, width=w, height=h) for w, h in sizes]
    assert made == sorted(made)
