"""One training step, and everything that it changes: network, moving average, optimizer, guard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from repsr_deploy.folding.forward import folded_forward
from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.norm import norms_of, use_population_statistics, uses_batch_statistics
from repsr_deploy.nets.spec import StackSpec
from repsr_train.config import Precision, Recipe
from repsr_train.distributed import ALONE, Processes
from repsr_train.ema import WeightAverage, measure_statistics
from repsr_train.guard import Guard
from repsr_train.losses import loss_function
from repsr_train.optimizers import make_optimizer
from repsr_train.qat import Scales, quantize
from repsr_train.schedules import learning_rate

AUTOCAST: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Learner:
    """A network in training. `step` counts the steps that were taken.

    Args:
        int8: scales of the convolutions that are trained in int8 (`repsr_train.qat`); none for float.

    Nothing here waits for the device: a step is only queued.
    """

    def __init__(
        self, recipe: Recipe, device: torch.device, processes: Processes = ALONE, *, int8: Scales | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.processes = recipe, device, processes
        self.step = 0
        self.net = build(recipe.network)
        quantize(self.net, int8 or {})
        self.net.to(device).train()
        for norm in norms_of(self.net):
            norm.processes, norm.mean_over_processes = processes.count, processes.differentiable_mean
        self.guard = Guard(recipe.spike_factor, recipe.spike_patience, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._loss = loss_function(recipe)
        self._forward = torch.compile(training_forward) if recipe.compile else training_forward
        self._start_phase()

    def _start_phase(self) -> None:
        """Gradients have another scale from here on, and an average of two phases would be neither."""
        self.optimizer = make_optimizer(self.recipe, self.net.parameters())
        self.average = WeightAverage(self.net, self.recipe.ema_decay)
        self.guard.forget()

    def learn(self, lr_nchw: Tensor, hr_nchw: Tensor) -> None:
        """Take a step on this process's crops: LR N x C x P x P and HR N x C x sP x sP, 0..1, on the device."""
        recipe = self.recipe
        _seed_dropout(recipe.seed, self.step, self.processes.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, self.step)
        if not recipe.channels_last:  # as which batches come
            lr_nchw, hr_nchw = lr_nchw.contiguous(), hr_nchw.contiguous()
        dtype = AUTOCAST.get(recipe.precision)
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            output_nchw = self._forward(self.net, lr_nchw)
        loss = self._loss(output_nchw.float(), hr_nchw)
        self.net.zero_grad()
        self.scaler.scale(loss).backward()
        self._update(loss.detach())
        self.step += 1

    def _update(self, loss: Tensor) -> None:
        """Move the weights along their gradients, and the average after them, unless the guard says no."""
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        self.processes.average([*gradients, loss])
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm(gradients)
        if self.recipe.grad_clip:
            clip_grads_with_norm_(self.net.parameters(), self.recipe.grad_clip, norm)
        skip = self.guard.judge(self.step, loss, norm)
        cast("Any", self.optimizer).found_inf = skip
        self.optimizer.step()
        self.scaler.update()
        self.average.update(1 - skip)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take over tensors by their names; the others keep their fresh values.

        A recipe that begins with population statistics takes those of `weights`: measured anew, they would be those of
        its features today, which is another network than the one that was trained.
        """
        self.net.load_state_dict({**self.net.state_dict(), **weights})
        if self.recipe.population_step == 0:
            self.start_from_population()
        else:
            self._start_phase()

    def start_from_population(self) -> None:
        """Use the statistics that the network has, from the first step on."""
        use_population_statistics(self.net, freeze_affine=self.recipe.freeze_affine)
        self._start_phase()

    def switch_to_population(self, batches_nchw: Iterable[Tensor]) -> None:
        """Measure population statistics on LR batches, use them from here on, and begin the second phase."""
        measure_statistics(self.net, batches_nchw)
        self.start_from_population()

    def averaged(self, batches_nchw: Iterable[Tensor]) -> Network:
        """The averaged network in evaluation mode: what is validated, saved and shipped.

        As long as statistics come from mini-batches, those of the averaged weights are measured on `batches_nchw`.
        """
        measure_statistics(self.average.average, batches_nchw)
        return self.average.average.eval()


def training_forward(net: Network, lr_nchw: Tensor) -> Tensor:
    """The network on N x C x H x W, folded where that saves work: blocks with branches, once statistics are frozen.

    In residual and plain networks a layer is a single convolution already: merging it anew in every step costs more
    than it saves.
    """
    folds = isinstance(net.spec, StackSpec) and net.spec != net.spec.folded and not uses_batch_statistics(net)
    return folded_forward(net, lr_nchw) if folds else net(lr_nchw)


def _seed_dropout(*numbers: int) -> None:
    """Make the device's random numbers a function of seed, step and process: nothing has to be saved to resume."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
