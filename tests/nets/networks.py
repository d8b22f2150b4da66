"""Networks whose mistakes show: a fresh BatchNorm (mean 0, variance 1) and zero biases hide nearly every wrong fold."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.spec import NetSpec, family_names, parse_name

STACKS = ("repsr", "ecbsr", "plain")
FAMILIES = tuple(family_names())


def spec_of(name: str, **changes: Any) -> NetSpec:
    """A small network by its family's name, `edsr-adadm` say."""
    return dataclasses.replace(parse_name(f"{name}-m2c8-x2"), **changes)


@torch.no_grad()
def randomized(spec: NetSpec, seed: int = 0) -> Network:
    """A network in training mode with random BatchNorm statistics and affine parameters, biases and PReLU slopes."""
    torch.manual_seed(seed)
    net = build(spec)
    for name, parameter in net.named_parameters():
        if name.endswith("bias") or parameter.ndim == 1:
            parameter.add_(torch.randn_like(parameter) * 0.3)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        if name.endswith("running_var"):
            buffer.uniform_(0.05, 3.0)
    return net
