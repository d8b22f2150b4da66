"""A folded network as a PyTorch module that gives features: what a kernel finishes."""

from __future__ import annotations

from torch import Tensor, nn

from repsr_deploy.errors import UsageError
from repsr_deploy.folding.fold import folded
from repsr_deploy.nets.network import Network
from repsr_deploy.nets.ops import Eager
from repsr_deploy.nets.stack import Stack


class _UpToTail(Eager):
    """Leaves out what a `Stack` ends with: the nearest skip and PixelShuffle."""

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """The features alone."""
        del y
        return x

    def shuffle(self, x: Tensor, factor: int) -> Tensor:
        """The features as they are."""
        del factor
        return x

    def repeat(self, x: Tensor, times: int) -> Tensor:
        """Nothing is made for the skip."""
        del times
        return x


class FeaturesModule(nn.Module):
    """N x C x H x W in 0..1 to N x C s s x H x W: `FusedUpsample` with a nearest skip makes pictures of it.

    Args:
        net: RepSR, ECBSR or a plain stack, with branches or without; it is folded, in its own type.

    Raises:
        UsageError: another network.
    """

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = folded(net)
        if not isinstance(self.net, Stack):
            raise UsageError(
                f"{net.spec.name} does not end in a nearest skip and PixelShuffle; expected RepSR or ECBSR"
            )

    def forward(self, x_nchw: Tensor) -> Tensor:
        """See the class."""
        return self.net.graph(_UpToTail(), x_nchw)
