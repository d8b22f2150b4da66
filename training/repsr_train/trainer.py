"""The training loop: L1, Adam with a cosine, moving average, two phases of BatchNorm, a state to resume from."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.checkpoint import CheckpointInfo, load_tensors, save_checkpoint, save_tensors
from repsr_deploy.errors import ModelFileError, RepsrError
from repsr_deploy.folding.fold import folded_parameters
from repsr_deploy.nets.network import Network, build
from repsr_deploy.nets.repsr import use_population_statistics, uses_batch_statistics
from repsr_train.batches import to_network
from repsr_train.data import CropSampler, Pair
from repsr_train.ema import WeightAverage, measure_statistics
from repsr_train.recipes import Recipe
from repsr_train.validation import validation_psnr

STATISTICS_BATCHES = 50
"""Batches over which population statistics are measured."""

STATE_FORMAT = "repsr-training-state-1"


@dataclass(frozen=True)
class Progress:
    """What the trainer reports after a validation.

    `psnr_y` in dB, None without validation photographs; `loss` is the mean L1 since the last report.
    """

    step: int
    steps: int
    loss: float
    lr: float
    psnr_y: float | None
    steps_per_s: float

    @property
    def eta_s(self) -> float:
        """Seconds left at the present speed."""
        return (self.steps - self.step) / self.steps_per_s


def learning_rate(recipe: Recipe, step: int) -> float:
    """A cosine from `lr` to `lr_end`, with linear warm-ups at the start (step 0) and at the switch of statistics."""
    since = step if step < recipe.population_step else step - recipe.population_step
    rise = min(1.0, (since + 1) / max(1, recipe.warmup))
    fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return rise * (recipe.lr_end + (recipe.lr - recipe.lr_end) * fall)


class Trainer:
    """Trains one network by one recipe; `save_state` and `load_state` interrupt and continue it at any step."""

    def __init__(self, recipe: Recipe, sampler: CropSampler, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.sampler, self.device = recipe, sampler, device
        self.net = build(recipe.network).to(device).train()
        self.plain = build(recipe.network.folded).to(device)
        self.optimizer = self._new_optimizer()
        self.average = WeightAverage(self.net, recipe.ema_decay)
        self.step = 0

    def start_from(self, source: Mapping[str, Tensor]) -> list[str]:
        """Take over every tensor of `source` that fits by name and shape; return the names that none fitted.

        A recipe that begins with population statistics (`population_from=0`) takes those of `source`: measured anew,
        they would be those of its features today, which is another network than the one that was trained.
        """
        own = self.net.state_dict()
        taken = {key: value for key, value in source.items() if key in own and own[key].shape == value.shape}
        self.net.load_state_dict({**own, **taken})
        if self.recipe.population_step == 0:
            use_population_statistics(self.net)
        self.average = WeightAverage(self.net, self.recipe.ema_decay)
        return sorted(set(own) - set(taken))

    def run(
        self,
        validation: Sequence[Pair],
        report: Callable[[Progress], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train from the present step to the last, or until `should_stop()`; `report` is called after each validation.

        Raises:
            RepsrError: the loss became NaN or infinite.
        """
        recipe = self.recipe
        losses: list[Tensor] = []
        started = time.monotonic()
        while self.step < recipe.steps and not should_stop():
            losses.append(self._train_step())
            if self.step % recipe.validate_every == 0 or self.step == recipe.steps:
                loss, count = torch.stack(losses).mean().item(), len(losses)
                if not math.isfinite(loss):
                    raise RepsrError(
                        f"the loss is {loss} at step {self.step}; lower the learning rate (--set lr={recipe.lr / 2:g})"
                    )
                speed = count / (time.monotonic() - started)
                quality = validation_psnr(self.averaged(), validation) if validation else None
                report(Progress(self.step, recipe.steps, loss, learning_rate(recipe, self.step - 1), quality, speed))
                losses.clear()
                started = time.monotonic()

    def averaged(self) -> Network:
        """The averaged network, its BatchNorm statistics right: what is validated, saved and shipped."""
        measure_statistics(self.average.average, self._statistics_batches())
        return self.average.average.eval()

    def _train_step(self) -> Tensor:
        if self.step == self.recipe.population_step and uses_batch_statistics(self.net):
            self._switch_to_population_statistics()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        lr_uint8, hr_uint8 = self.sampler.draw(self.step)
        colour = self.recipe.network.colour
        lr_nchw, hr_nchw = (to_network(batch, colour, self.device) for batch in (lr_uint8, hr_uint8))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            output_nchw = self._forward(lr_nchw)
        loss = F.l1_loss(output_nchw.float(), hr_nchw)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update()
        self.step += 1
        return loss.detach()

    def _forward(self, lr_nchw: Tensor) -> Tensor:
        """Through the branches while BatchNorm needs the mini-batch, else through the equal folded kernels."""
        if uses_batch_statistics(self.net):
            return self.net(lr_nchw)
        parameters = {key: value.float() for key, value in folded_parameters(self.net).items()}
        return torch.func.functional_call(self.plain, parameters, (lr_nchw,))

    def _switch_to_population_statistics(self) -> None:
        measure_statistics(self.net, self._statistics_batches())
        use_population_statistics(self.net)
        self.optimizer = self._new_optimizer()  # gradients have another scale from here on
        self.average = WeightAverage(self.net, self.recipe.ema_decay)

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.net.parameters(), lr=self.recipe.lr, fused=True)

    def _statistics_batches(self) -> list[Tensor]:
        if not uses_batch_statistics(self.net):
            return []
        steps = range(self.step, self.step + STATISTICS_BATCHES)
        colour = self.recipe.network.colour
        return [to_network(self.sampler.draw(step)[0], colour, self.device) for step in steps]

    def save_checkpoint(self, path: Path, info: CheckpointInfo) -> None:
        """Write the averaged network, atomically."""
        save_checkpoint(path, self.averaged(), info)

    def save_state(self, path: Path) -> None:
        """Write everything that `load_state` needs to continue bit for bit, atomically, without a pickle."""
        tensors = {f"net.{key}": value for key, value in self.net.state_dict().items()}
        tensors |= {f"average.{key}": value for key, value in self.average.average.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        metadata = {"format": STATE_FORMAT, "step": str(self.step), "recipe": self.recipe.to_json()}
        save_tensors(path, {key: value.clone() for key, value in tensors.items()}, metadata)

    def load_state(self, path: Path) -> None:
        """Continue where `save_state` stopped.

        Raises:
            ModelFileError: no such file, damaged, or written by another recipe.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != STATE_FORMAT:
            raise ModelFileError(
                f"{path} is no training state (format {metadata.get('format')!r}); train without --resume"
            )
        saved, present = json.loads(metadata["recipe"]), json.loads(self.recipe.to_json())
        changed = sorted(key for key in present if saved.get(key) != present[key])
        if changed:
            was = ", ".join(f"{key}={saved.get(key)}" for key in changed)
            raise ModelFileError(
                f"{path} was trained with {was}; resume with the same values, or train into another folder"
            )

        def part(prefix: str) -> dict[str, Any]:
            return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

        self.step = int(metadata["step"])
        if self.step > self.recipe.population_step:
            use_population_statistics(self.net)
            self.average = WeightAverage(self.net, self.recipe.ema_decay)
        self.net.load_state_dict(part("net."))
        self.average.average.load_state_dict(part("average."))
        for name, parameter in self.net.named_parameters():
            self.optimizer.state[parameter] = {
                key: tensors[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
