"""From uint8 crops to the tensors that a network trains on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsr_deploy.metrics.colour import MATRIX, OFFSET
from repsr_deploy.nets.spec import Colour


def to_network(batch_nchw: NDArray[np.uint8], colour: Colour, device: torch.device) -> Tensor:
    """uint8 RGB N x 3 x H x W -> float32 0..1 of the same shape, or N x 1 x H x W of studio-range Y / 255 for luma."""
    rgb_nchw = torch.from_numpy(batch_nchw).to(device).float() / 255
    if colour == "rgb":
        return rgb_nchw.contiguous(memory_format=torch.channels_last)
    weights = torch.tensor(MATRIX[0] / 255, dtype=torch.float32, device=device).view(1, 3, 1, 1)
    return (rgb_nchw * weights).sum(dim=1, keepdim=True) + OFFSET[0] / 255
