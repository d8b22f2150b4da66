"""Optimizers: PyTorch's fused Adam, and SOAP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from repsr_train.config import Recipe

LARGEST_SIDE = 1024
"""A side of a matrix longer than this keeps the identity as its basis: its eigenvectors would cost too much."""
REFRESH_EVERY = 10
"""Steps between two refreshes of the eigenbases (the value of SOAP's authors)."""


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that a recipe asks for.

    Both kinds leave weights and state untouched in a step for which their attribute `found_inf`, a float tensor without
    dimensions, is 1 (the convention between PyTorch's fused optimizers and its GradScaler).
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    options: dict[str, Any] = {"lr": recipe.lr, "betas": recipe.betas, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "soap":
        return SOAP(trained, **options)
    return torch.optim.Adam(trained, **options, fused=True, decoupled_weight_decay=True)


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., 2024, arXiv 2409.11321, algorithm 3).

    A kernel O x I x k x k is an O x Ikk matrix G. Exponential means of G G^T and G^T G have the eigenvectors Q_L, Q_R;
    Adam's second moment is kept of Q_L^T G Q_R, and its step is taken there. The eigenvectors are refreshed by one
    power iteration and a QR decomposition. Vectors, and matrices of one row or column, are left to plain Adam. As in
    the authors' code the first step only measures, and moves nothing.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        assert closure is None
        if self.found_inf is not None and self.found_inf.item():
            return
        for group in self.param_groups:
            for parameter in cast("list[nn.Parameter]", group["params"]):
                if parameter.grad is not None:
                    state = cast("dict[str, Tensor]", self.state[parameter])
                    _soap_step(parameter, parameter.grad, state, group)


def _soap_step(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], options: dict[str, Any]) -> None:
    matrix = gradient.reshape(gradient.shape[0], -1) if gradient.ndim > 1 else gradient.reshape(1, -1)
    beta1, beta2 = options["betas"]
    if not state:
        state.update(_first_state(matrix))
        return
    state["step"] += 1
    step = int(state["step"])
    projected = _project(matrix, state)
    state["mean"].lerp_(matrix, 1 - beta1)
    state["square"].lerp_(projected.square(), 1 - beta2)
    mean = _project(state["mean"], state) / (1 - beta1**step)
    deviation = (state["square"] / (1 - beta2**step)).sqrt_().add_(options["eps"])
    move = _project_back(mean / deviation, state)
    parameter.mul_(1 - options["lr"] * options["weight_decay"])
    parameter.sub_(move.reshape(parameter.shape), alpha=options["lr"])
    for side, moment in _second_moments(matrix).items():
        state[side].lerp_(moment, 1 - beta2)
    if step % REFRESH_EVERY == 0:
        _refresh(state)


def _first_state(matrix: Tensor) -> dict[str, Tensor]:
    state = {"step": torch.zeros(()), "mean": torch.zeros_like(matrix), "square": torch.zeros_like(matrix)}
    for side, moment in _second_moments(matrix).items():
        state[side] = moment
        state[f"{side}_basis"] = _stored(torch.linalg.eigh(moment.double())[1].flip(1).to(matrix.dtype))
    return state


def _second_moments(matrix: Tensor) -> dict[str, Tensor]:
    """G G^T and G^T G, for the sides that have a basis."""
    if min(matrix.shape) == 1:
        return {}
    sides = {"left": matrix, "right": matrix.T}
    return {side: rows @ rows.T for side, rows in sides.items() if len(rows) <= LARGEST_SIDE}


def _project(matrix: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Into the eigenbasis, along the sides that have one."""
    if "left_basis" in state:
        matrix = state["left_basis"].T @ matrix
    return matrix @ state["right_basis"] if "right_basis" in state else matrix


def _project_back(matrix: Tensor, state: dict[str, Tensor]) -> Tensor:
    if "left_basis" in state:
        matrix = state["left_basis"] @ matrix
    return matrix @ state["right_basis"].T if "right_basis" in state else matrix


def _refresh(state: dict[str, Tensor]) -> None:
    """One power iteration towards the eigenvectors, in the order of their eigenvalues, which the squares follow."""
    for axis, side in enumerate(("left", "right")):
        if side not in state:
            continue
        basis = state[f"{side}_basis"]
        turned = state[side] @ basis
        order = (basis * turned).sum(dim=0).argsort(descending=True)
        state["square"] = state["square"].index_select(axis, order)
        state[f"{side}_basis"] = _stored(torch.linalg.qr(turned[:, order])[0])


def _stored(matrix: Tensor) -> Tensor:
    """Row after row, as a file gives it back: products of the same numbers laid out differently differ in rounding."""
    return matrix.contiguous()
