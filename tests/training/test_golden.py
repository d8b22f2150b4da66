"""A golden loss curve, 20 steps with a fixed seed, full digits: it guards refactors of all that training touches.

`python tests/training/test_golden.py` records it anew, which a commit that changes the numbers on purpose must say.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from repsr_deploy.metrics.evaluate import crop_to_multiple, reduce
from repsr_train.batches import Batches
from repsr_train.data import Pair
from repsr_train.overrides import assign
from repsr_train.recipes import recipe
from repsr_train.step import Learner
from repsr_train.trainer import Hooks, train

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("repsr-m2c8-x2", "ecbsr-m2c8-x2", "plain-m2c8-x2")
CHANGES = ("steps=20", "batch=4", "patch=16", "warmup=3", "population_from=0.5", "validate_every=5", "ema_decay=0.9")
CPU = torch.device("cpu")
RELATIVE = 1e-4
"""Between machines: other kernels round differently, and 20 steps carry that on."""


def this_platform() -> dict[str, str]:
    """What decides how numbers are rounded."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""),
    }


def curve(name: str) -> dict[str, Any]:
    """The losses, and a hash of the averaged weights."""
    chosen = assign(recipe(name), CHANGES)
    pairs = [whole_pair(photo) for photo in ("astronaut", "chelsea", "coffee")]
    learner, batches = Learner(chosen, CPU), Batches(pairs, chosen, CPU)
    train(learner, batches, Hooks())
    digest = hashlib.sha256()
    for key, value in sorted(learner.averaged(batches.statistics(learner.step)).state_dict().items()):
        if value.is_floating_point():
            digest.update(key.encode() + value.numpy().tobytes())
    return {"losses": learner.guard.tensors["losses"][: chosen.steps].tolist(), "weights_sha256": digest.hexdigest()}


def whole_pair(name: str) -> Pair:
    """A photograph of scikit-image for x2."""
    hr_hwc = crop_to_multiple(getattr(skimage.data, name)(), 2)
    return Pair(name, hr_hwc, reduce(hr_hwc, 2))


def record(name: str) -> None:
    """Write the curve that later ones are compared with."""
    golden = {"platform": this_platform(), "changes": CHANGES, **curve(name)}
    (GOLDEN / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_curve_is_the_golden_one(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert golden["changes"] == list(CHANGES)
    now = curve(name)
    if golden["platform"] == this_platform():
        assert now["losses"] == golden["losses"]
        assert now["weights_sha256"] == golden["weights_sha256"]
    else:
        np.testing.assert_allclose(now["losses"], golden["losses"], rtol=RELATIVE)


def test_another_seed_gives_another_curve() -> None:
    golden = json.loads((GOLDEN / f"{NAMES[2]}.json").read_text())["losses"]
    chosen = assign(recipe(NAMES[2]), [*CHANGES, "seed=1", "steps=3"])
    learner = Learner(chosen, CPU)
    train(learner, Batches([whole_pair("coffee")], chosen, CPU), Hooks())
    losses = learner.guard.tensors["losses"][:3].tolist()
    assert not np.allclose(losses, golden[:3], rtol=100 * RELATIVE)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for recorded in NAMES:
        record(recorded)
