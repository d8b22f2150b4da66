"""Small networks of spandrel's classes with random weights, and their files as people share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.support import declare_torchvision_schemas
from tests.zoo.blocks import randomised

declare_torchvision_schemas()

from spandrel.architectures.Compact import Compact  # noqa: E402  (importable only after the declaration)
from spandrel.architectures.PLKSR import PLKSR, RealPLKSR  # noqa: E402
from spandrel.architectures.RCAN import RCAN  # noqa: E402
from spandrel.architectures.RealCUGAN import UpCunet2x, UpCunet3x  # noqa: E402
from spandrel.architectures.SAFMN import SAFMN  # noqa: E402
from spandrel.architectures.SPAN import SPAN  # noqa: E402

FOREIGN: dict[str, Callable[[], nn.Module]] = {
    "SPAN": lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
    "PLKSR": lambda: PLKSR(dim=16, n_blocks=2, upscaling_factor=2, kernel_size=7),
    "PLKSR-rectangular": lambda: PLKSR(dim=16, n_blocks=1, upscaling_factor=2, kernel_size=9, lk_type="RectSparsePLK"),
    "PLKSR-real": lambda: RealPLKSR(dim=16, n_blocks=1, upscaling_factor=2, kernel_size=7),
    "Compact": lambda: Compact(num_feat=8, num_conv=2, upscale=2),
    "SAFMN": lambda: SAFMN(dim=16, n_blocks=1, upscaling_factor=2),
    "RealCUGAN": UpCunet2x,
    "RealCUGAN-x3": UpCunet3x,
    "RCAN": lambda: RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4),
}
"""Name -> a fresh network; up to its first hyphen the name is spandrel's for the architecture."""


def foreign(name: str) -> nn.Module:
    """The network in evaluation mode, the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return randomised(FOREIGN[name]())


def state_of(name: str) -> dict[str, Tensor]:
    """The weights of `foreign(name)`."""
    return dict(foreign(name).state_dict())


def write_pth(path: Path, state: dict[str, Tensor], container: str = "params") -> Path:
    """`state` as BasicSR saves it."""
    torch.save({container: state}, path)
    return path
