"""The guard against loss spikes and NaN: a bad step is skipped, many of them stop the training.

Whether a step counts is decided on the device, as a number that the optimizer and the moving average multiply with
(`found_inf` of PyTorch's fused Adam), so that the host never waits for the loss. As a skipped step changes nothing, the
host may find out later: it looks at the record every hundred steps or so, reports, and stops the run if it has to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from repsr_deploy.errors import RepsrError

WINDOW = 1000
"""Steps that the guard remembers."""
MEMORY = 0.02
"""Weight of the newest loss in the usual one, an exponential mean over the steps that counted."""


class DivergedError(RepsrError):
    """Too many steps were skipped."""


@dataclass(frozen=True)
class Look:
    """What happened since the last look."""

    loss: float
    """Mean over the steps that counted; NaN if none did."""
    skipped: dict[int, float]
    """Step -> its loss, for those that were skipped."""


class Guard:
    """Remembers the usual loss and the last `WINDOW` losses; all of it is tensors on `device`, part of the state."""

    def __init__(self, factor: float, patience: int, device: torch.device) -> None:
        self.factor, self.patience = factor or math.inf, patience
        self.tensors: dict[str, Tensor] = {
            "usual": torch.full((), math.nan, device=device),
            "losses": torch.zeros(WINDOW, device=device),
            "skipped": torch.zeros(WINDOW, dtype=torch.bool, device=device),
        }

    def judge(self, step: int, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """1.0 if this step must be skipped, else 0.0, on the device; both arguments are numbers without dimensions."""
        usual = self.tensors["usual"]
        bad = ~(torch.isfinite(loss) & torch.isfinite(gradient_norm)) | (loss > self.factor * usual)
        moved = torch.where(torch.isnan(usual), loss, usual.lerp(loss, MEMORY))
        usual.copy_(torch.where(bad, usual, moved))
        self.tensors["losses"][step % WINDOW] = loss
        self.tensors["skipped"][step % WINDOW] = bad
        return bad.float()

    def forget(self) -> None:
        """Start the usual loss anew: the network is another one from here on."""
        self.tensors["usual"].fill_(math.nan)

    def look(self, start: int, stop: int) -> Look:
        """The steps from `start` up to, not including, `stop`, at most `WINDOW` of them; waits for the device.

        Raises:
            DivergedError: one of them was skipped, and with it more of the last `WINDOW` than the patience allows.
        """
        assert 0 <= stop - start <= WINDOW
        losses, bad = (self.tensors[name].tolist() for name in ("losses", "skipped"))
        skipped = {step: losses[step % WINDOW] for step in range(start, stop) if bad[step % WINDOW]}
        counted = [losses[step % WINDOW] for step in range(start, stop) if not bad[step % WINDOW]]
        if skipped and sum(bad) >= self.patience:
            step, loss = next(reversed(skipped.items()))
            raise DivergedError(
                f"{sum(bad)} of the last {WINDOW} steps were skipped, the last one step {step} with a loss of "
                f"{loss:.4g} where {self.tensors['usual'].item():.4g} is usual"
            )
        return Look(sum(counted) / len(counted) if counted else math.nan, skipped)
