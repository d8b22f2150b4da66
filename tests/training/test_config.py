"""Recipes: what is refused, and in which words."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from repsr_deploy.errors import UsageError
from repsr_train.config import Recipe
from repsr_train.overrides import assign
from repsr_train.recipes import recipe


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps=-1", "steps is -1; expected at least 1"),
        ("batch=0", "batch is 0; expected at least 1"),
        ("patch=4", "patch is 4; expected at least 8 LR pixels"),
        ("optimizer=sgd", "optimizer is 'sgd'; expected one of adam, soap"),
        ("betas=0.9,1", "betas is 0.9,1.0; expected two numbers from 0 to below 1"),
        ("weight_decay=-1", "weight_decay is -1.0"),
        ("grad_clip=nan", "grad_clip is nan"),
        ("lr=2", "lr is 2.0; expected a number above 0 and below 1"),
        ("lr=nan", "lr is nan"),
        ("lr_end=1", "lr_end is 1.0 and lr 0.002; expected lr_end at most lr"),
        ("warmup=-1", "warmup is -1"),
        ("schedule=linear", "schedule is 'linear'; expected one of cosine, steps, constant"),
        ("schedule=steps", "schedule is 'steps' without milestones; set milestones"),
        ("milestones=0.5", "milestones is 0.5, but schedule is 'cosine'; set schedule=steps"),
        ("milestones=0.8,0.5", "milestones is 0.8,0.5; expected ascending fractions"),
        ("milestones=0.5,1.5", "milestones is 0.5,1.5; expected ascending fractions"),
        ("gamma=0", "gamma is 0.0"),
        ("loss=huber", "loss is 'huber'"),
        ("charbonnier_eps=0", "charbonnier_eps is 0.0; expected a number above 0"),
        ("luma_weight=1.5", "luma_weight is 1.5; expected a number from 0 to 1"),
        ("population_from=1.5", "population_from is 1.5"),
        ("ema_decay=1", "ema_decay is 1.0"),
        ("precision=fp8", "precision is 'fp8'; expected one of fp32, bf16, fp16"),
        ("degradation=blur", "degradation is 'blur'"),
        ("usm=true", "usm is true, but degradation is 'bicubic'; set degradation=second-order or usm=false"),
        ("spike_factor=0.5", r"spike_factor is 0.5; expected 0 \(off\) or a number above 1"),
        ("spike_patience=2000", "spike_patience is 2000"),
        ("validate_every=0", "validate_every is 0"),
        ("save_every=0", "save_every is 0"),
        ("seed=-1", "seed is -1"),
        ("network.blocks=0", "network blocks is 0"),
        ("network.norm=adadm", "network norm is 'adadm'; expected one of none, bn"),
    ],
)
def test_impossible_values_are_refused_by_name(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign(recipe("repsr-m4c16-x2"), [assignment])


def test_values_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match=r"luma_weight is 0\.5, but the network sees luma alone"):
        assign(recipe("plain-m4c16-x2-y"), ["luma_weight=0.5"])
    with pytest.raises(UsageError, match="freeze_affine is true, but ECBSR-M4C16 has no BatchNorm"):
        assign(recipe("ecbsr-m4c16-x2"), ["freeze_affine=true"])


def test_every_range_belongs_to_a_key() -> None:
    from repsr_train import config

    ranges: dict[str, object] = vars(config)["_RANGES"]
    assert set(ranges) <= {item.name for item in fields(Recipe)}


def test_json_and_hash_say_everything() -> None:
    base = recipe("repsr-m4c16-x2")
    assert json.loads(base.to_json()) == base.values()
    for changed in (replace(base, lr=1e-3), replace(base, network=replace(base.network, channels=8))):
        assert changed.hash != base.hash
        assert changed.values() != base.values()


@pytest.mark.parametrize(
    ("name", "changes", "step"),
    [
        ("repsr-m4c16-x2", (), 50),
        ("repsr-m4c16-x2", ("population_from=1",), 1000),
        ("repsr-m4c16-x2", ("network.norm=none",), 0),
        ("ecbsr-m4c16-x2", (), 0),
        ("edsr-adadm-m4c16-x2", (), 1000),
        ("edsr-m4c16-x2", (), 0),
        ("wdsr-a-m4c16-x2", (), 0),
    ],
)
def test_statistics_switch_only_where_there_are_any(name: str, changes: tuple[str, ...], step: int) -> None:
    assert assign(recipe(name), ["steps=1000", *changes]).population_step == step
