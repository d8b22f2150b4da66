"""The catalogue: a name such as `repsr-m4c16-x2` says the network, and the network's family how it is trained.

Where a paper or its code says how it trained, its numbers are the recipe (`none` stands for no fact known):

family       source of the numbers
---------    -----------------------------------------------------------------------------------------------------
plain        ours. They suit small networks and short runs: a high learning rate, a cosine, a moving average.
repsr        ours: the paper gives neither steps nor the moment of the switch (fact sheet 1.5).
ecbsr        ours, so that the three compare; the paper trains 1.6 million steps at a constant 5e-4, batch 32, patch 64:
             --set steps=1600000 --set lr=5e-4 --set schedule=constant --set warmup=0 --set batch=32 --set patch=64
wdsr-a, -b   the BMVC 2019 code: 1.5 million steps, 1e-3, times 0.2 at 2/3 and 5/6, batch 16, patch 48.
edsr         AdaDM's: 1 million steps, 1e-4, halved at 0.2, 0.4, 0.6 and 0.8, batch 16, patch 48; ordinary BatchNorm,
             never switched.
srresnet     Reflash Dropout's: 500,000 steps, 2e-4, Adam (0.9, 0.99), batch 16, HR patch 128, second-order degradation,
             sharpened targets. Its cosine restarts halfway; ours is one cosine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from repsr_deploy.nets.spec import EdsrSpec, parse_name
from repsr_train.config import Recipe

CATALOGUE = (
    *("repsr-m4c16-x2", "repsr-m4c16-x4", "repsr-m6c40-x2", "repsr-m16c64-x4"),
    *("ecbsr-m4c16-x2", "ecbsr-m4c16-x4", "plain-m4c16-x2", "plain-m4c16-x4"),
    *("wdsr-a-m8c32-x2", "wdsr-a-m16c32-x2", "wdsr-b-m8c32-x2", "wdsr-b-m16c64-x2"),
    *("edsr-m16c64-x2", "edsr-bn-m16c64-x2", "edsr-adadm-m16c64-x2", "edsr-adadm-m32c256-x2"),
    *("srresnet-m16c64-x4", "srresnet-dropout-m16c64-x4"),
)
"""Names that are worth listing; every name that the networks know is a recipe."""

LARGE_EDSR = 256
"""Channels from which EDSR scales its branches by 0.1, or training is not stable."""

_WDSR: dict[str, Any] = {
    "steps": 1_500_000,
    "lr": 1e-3,
    "schedule": "steps",
    "milestones": (2 / 3, 5 / 6),
    "gamma": 0.2,
    "warmup": 0,
}
_EDSR: dict[str, Any] = {
    "steps": 1_000_000,
    "lr": 1e-4,
    "schedule": "steps",
    "milestones": (0.2, 0.4, 0.6, 0.8),
    "gamma": 0.5,
    "warmup": 0,
    "population_from": 1.0,
}
SRRESNET_HR_PATCH = 128
_SRRESNET: dict[str, Any] = {
    "steps": 500_000,
    "lr": 2e-4,
    "betas": (0.9, 0.99),
    "warmup": 0,
    "degradation": "second-order",
    "usm": True,
}
TRAINING: dict[str, dict[str, Any]] = {
    "plain": {},
    "repsr": {},
    "ecbsr": {},
    "wdsr-a": _WDSR,
    "wdsr-b": _WDSR,
    "edsr": _EDSR,
    "srresnet": _SRRESNET,
}
"""Family -> what its recipe has other than the defaults of `Recipe`."""


def recipe(name: str) -> Recipe:
    """The recipe of a name such as `repsr-m4c16-x2`: family, blocks, channels, scale; `-y` at the end for luma only.

    Raises:
        UsageError: no such name.
    """
    network = parse_name(name)
    if isinstance(network, EdsrSpec) and network.channels >= LARGE_EDSR:
        network = replace(network, res_scale=0.1)
    chosen = Recipe(network=network, **TRAINING[network.family])
    return replace(chosen, patch=SRRESNET_HR_PATCH // network.scale) if network.family == "srresnet" else chosen


def summary(name: str) -> str:
    """One line on a recipe: what it trains and for how long."""
    chosen = recipe(name)
    return (
        f"{chosen.network.name} x{chosen.network.scale}, {chosen.steps:,} steps of {chosen.batch} x "
        f"{chosen.patch}x{chosen.patch}, {chosen.optimizer} {chosen.lr:g} {chosen.schedule}, {chosen.degradation}"
    )
