"""Re-parameterizable blocks of the field as small networks, written from the papers' formulas.

A block maps `WIDTH` channels to as many. `BLOCKS` puts two of each into a network for x2, head - act - block - act -
block - act - tail - PixelShuffle, with weights, biases and BatchNorm statistics that hide no mistake, and says what is
left of it once everything is folded that saves multiply-adds and changes no pixel, the border included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm

WIDTH = 8
SCALE = 2
BLOCKS_DEEP = 2
MEAN = (0.4488, 0.4371, 0.4040)
SOBEL_X = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
SOBEL_Y = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))
LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class Sum(nn.Module):
    """Sum of parallel branches."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x_nchw: Tensor) -> Tensor:
        first, *others = self.branches
        out_nchw = first(x_nchw)
        for branch in others:
            out_nchw = out_nchw + branch(x_nchw)
        return out_nchw


class PadWith(nn.Module):
    """One pixel of `value()`, a number for each channel, on every side."""

    def __init__(self, value: Callable[[], Tensor]) -> None:
        super().__init__()
        self.value = value

    def forward(self, x_nchw: Tensor) -> Tensor:
        border = self.value().view(1, -1, 1, 1)
        return F.pad(x_nchw - border, [1, 1, 1, 1]) + border


def _conv(size: int | tuple[int, int], *, bias: bool = True, width: int = WIDTH, groups: int = 1) -> nn.Conv2d:
    height, across = (size, size) if isinstance(size, int) else size
    padding = (height // 2, across // 2)
    return nn.Conv2d(width, width, (height, across), padding=padding, bias=bias, groups=groups)


def _conv_bn(size: int | tuple[int, int], *, groups: int = 1) -> nn.Module:
    return nn.Sequential(_conv(size, bias=False, groups=groups), nn.BatchNorm2d(WIDTH))


def _repvgg() -> nn.Module:
    """RepVGG (Ding et al., CVPR 2021): BN(conv3x3) + BN(conv1x1) + BN."""
    return Sum(_conv_bn(3), _conv_bn(1), nn.BatchNorm2d(WIDTH))


def _acnet() -> nn.Module:
    """ACNet (Ding et al., ICCV 2019): BN(conv3x3) + BN(conv1x3) + BN(conv3x1)."""
    return Sum(_conv_bn(3), _conv_bn((1, 3)), _conv_bn((3, 1)))


def _dbb() -> nn.Module:
    """DBB (Ding et al., CVPR 2021): 1x1; 1x1 - kxk; 1x1 - average; kxk; what BatchNorm makes of 0 is the padding."""

    def pointwise_then(second: nn.Module) -> nn.Module:
        norm = nn.BatchNorm2d(WIDTH)

        def of_zero() -> Tensor:
            gain = norm.weight / torch.sqrt(cast("Tensor", norm.running_var) + norm.eps)
            return norm.bias - gain * cast("Tensor", norm.running_mean)

        return nn.Sequential(_conv(1, bias=False), norm, PadWith(of_zero), second, nn.BatchNorm2d(WIDTH))

    wide = pointwise_then(nn.Conv2d(WIDTH, WIDTH, 3, bias=False))
    return Sum(_conv_bn(3), _conv_bn(1), wide, pointwise_then(nn.AvgPool2d(3, stride=1)))


def _sesr() -> nn.Module:
    """SESR (Bhardwaj et al., MLSys 2022), collapsible linear block: conv3x3 C -> p, conv1x1 p -> C, short residual."""
    return Sum(nn.Sequential(nn.Conv2d(WIDTH, 32, 3, padding=1), nn.Conv2d(32, WIDTH, 1)), nn.Identity())


def _mobileone() -> nn.Module:
    """MobileOne (Vasu et al., CVPR 2023): k depthwise branches, a 1x1 one and BN; ReLU; k pointwise branches and BN."""
    depthwise = Sum(*(_conv_bn(3, groups=WIDTH) for _ in range(3)), _conv_bn(1, groups=WIDTH), nn.BatchNorm2d(WIDTH))
    return nn.Sequential(depthwise, nn.ReLU(), Sum(*(_conv_bn(1) for _ in range(3)), nn.BatchNorm2d(WIDTH)))


def _conv3xc() -> nn.Module:
    """SPAN (Wan et al., CVPRW 2024): zeros around x, conv1x1 - conv3x3 - conv1x1, all biased; a conv1x1 beside."""
    expanding = (nn.Conv2d(WIDTH, 16, 1), nn.Conv2d(16, 16, 3), nn.Conv2d(16, WIDTH, 1))
    return Sum(nn.Sequential(nn.ZeroPad2d(1), *expanding), _conv(1))


def _repmbconv() -> nn.Module:
    """PlainUSR (Wang et al., ACCV 2024), the linear part of RepMBConv: 1x1 expand, 3x3, 1x1 squeeze, identity."""
    expanding = (nn.Conv2d(WIDTH, 16, 1, bias=False), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, WIDTH, 1))
    return Sum(nn.Sequential(*expanding), nn.Identity())


def _edge(kernel: tuple[tuple[float, ...], ...]) -> nn.Module:
    """A fixed filter with a trained gain and bias for each channel, no padding of its own."""

    class Edge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.randn(WIDTH, 1, 1, 1))
            self.bias = nn.Parameter(torch.randn(WIDTH))
            self.filter: Tensor
            self.register_buffer("filter", torch.tensor(kernel))

        def forward(self, x_nchw: Tensor) -> Tensor:
            return F.conv2d(x_nchw, self.gain * self.filter, self.bias, groups=WIDTH)

    return Edge()


def _ecb() -> nn.Module:
    """ECBSR (Zhang et al., ACM MM 2021): every 1x1 is padded with its own bias before a 3x3 or an edge filter."""

    def padded_then(expand: nn.Conv2d, second: nn.Module) -> nn.Module:
        return nn.Sequential(expand, PadWith(lambda: cast("Tensor", expand.bias)), second)

    edges = (padded_then(nn.Conv2d(WIDTH, WIDTH, 1), _edge(kernel)) for kernel in (SOBEL_X, SOBEL_Y, LAPLACIAN))
    return Sum(_conv(3), padded_then(nn.Conv2d(WIDTH, 16, 1), nn.Conv2d(16, WIDTH, 3)), *edges)


def _edges() -> nn.Module:
    """Sobel and Laplacian branches on the features themselves, zero padding."""
    edges = (nn.Sequential(nn.ZeroPad2d(1), _edge(kernel)) for kernel in (SOBEL_X, SOBEL_Y, LAPLACIAN))
    return Sum(_conv(3), *edges)


def _repsr() -> nn.Module:
    """RepSR (Wang et al., ACM MM 2022): identity and two paths of conv3x3 - BN - conv1x1."""
    paths = (
        nn.Sequential(nn.Conv2d(WIDTH, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Conv2d(16, WIDTH, 1)) for _ in range(2)
    )
    return Sum(*paths, nn.Identity())


class CentralDifference(nn.Module):
    """Central difference convolution (Yu et al., CVPR 2020): W * x - theta (sum of W's taps) x, theta = 0.7."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv(3)

    def forward(self, x_nchw: Tensor) -> Tensor:
        centre = self.conv.weight.sum(dim=(2, 3), keepdim=True)
        return self.conv(x_nchw) - 0.7 * F.conv2d(x_nchw, centre)


class AngularDifference(nn.Module):
    """Angular difference convolution (Su et al., ICCV 2021): every tap minus its neighbour on the ring."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv(3)
        self.turned: Tensor
        self.register_buffer("turned", torch.tensor([3, 0, 1, 6, 4, 2, 7, 8, 5]))

    def forward(self, x_nchw: Tensor) -> Tensor:
        taps = self.conv.weight.flatten(2)
        kernel = (taps - taps[:, :, self.turned]).view_as(self.conv.weight)
        return F.conv2d(x_nchw, kernel, self.conv.bias, padding=1)


class Coefficients(nn.Module):
    """a conv3x3 + b conv1x1 + c x, with learned numbers; dropout, which is nothing in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.dropout = _conv(3), _conv(1), nn.Dropout(0.5)
        self.a, self.b, self.c = (nn.Parameter(torch.rand(shape)) for shape in ((), (WIDTH, 1, 1), (1,)))

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.a * self.wide(x_nchw) + self.b * self.dropout(self.narrow(x_nchw)) + self.c * x_nchw


class Residual(nn.Module):
    """EDSR (Lim et al., CVPRW 2017): x + scale * body(x)."""

    def __init__(self, body: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.body, self.scale = body, scale

    def forward(self, x_nchw: Tensor) -> Tensor:
        return x_nchw + self.body(x_nchw) * self.scale


class AdaDM(nn.Module):
    """EDSR's block with BatchNorm before its convolutions and AdaDM (Liu et al., arXiv 2111.13905) behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(WIDTH), _conv(3), nn.ReLU(), nn.BatchNorm2d(WIDTH), _conv(3))
        self.weight, self.bias = nn.Parameter(torch.tensor([0.9])), nn.Parameter(torch.tensor([0.1]))

    def forward(self, x_nchw: Tensor) -> Tensor:
        deviation = torch.std(x_nchw, dim=(1, 2, 3), keepdim=True)
        return x_nchw + self.body(x_nchw) * torch.exp(self.weight * torch.log(deviation) + self.bias)


class Dense(nn.Module):
    """Everything about x side by side, then a 1x1 over it, as in information multi-distillation networks."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.fuse = _conv(3), _conv(1), nn.Conv2d(3 * WIDTH, WIDTH, 1)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.fuse(torch.cat([x_nchw, self.wide(x_nchw), self.narrow(x_nchw)], dim=1))


class Partial(nn.Module):
    """Partial convolution (FasterNet, Chen et al., CVPR 2023): a quarter of the channels convolved, the rest passed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv(3, width=WIDTH // 4)

    def forward(self, x_nchw: Tensor) -> Tensor:
        first, rest = torch.split(x_nchw, [WIDTH // 4, WIDTH - WIDTH // 4], dim=1)
        return torch.cat([self.conv(first), rest], dim=1)


def _separable() -> nn.Module:
    """Depthwise separable: cheaper than its fold."""
    return nn.Sequential(_conv(3, groups=WIDTH), _conv(1))


def _wdsr_b() -> nn.Module:
    """WDSR-B (Yu et al., 2018): conv1x1 C -> 6C, ReLU, the low-rank pair conv1x1 6C -> 0.8C, conv3x3 0.8C -> C."""
    narrow = int(0.8 * WIDTH)
    pair = (nn.Conv2d(6 * WIDTH, narrow, 1), nn.Conv2d(narrow, WIDTH, 3, padding=1))
    return Residual(nn.Sequential(nn.Conv2d(WIDTH, 6 * WIDTH, 1), nn.ReLU(), *pair))


def _dilated() -> nn.Module:
    """Sparse kernels side by side: 9 taps 1 apart and 9 taps 2 apart are fewer than the 25 that cover both."""
    return Sum(_conv(3), nn.Conv2d(WIDTH, WIDTH, 3, padding=2, dilation=2))


def _old_weight_norm() -> nn.Module:
    """Weight normalisation (Salimans and Kingma, 2016) as a hook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old spelling is the point
        return weight_norm(_conv(3))


class Network(nn.Module):
    """Head, two blocks, tail, PixelShuffle; each after an activation."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 3 * SCALE**2, 3, padding=1)
        acts = (nn.PReLU(WIDTH), nn.LeakyReLU(0.1), nn.ReLU())
        body = [layer for act in acts[:BLOCKS_DEEP] for layer in (act, block())]
        self.body, self.shuffle = nn.Sequential(*body, acts[-1]), nn.PixelShuffle(SCALE)

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.shuffle(self.tail(self.body(self.head(x_nchw))))


class LongSkip(Network):
    """SESR's long residual around the blocks."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        first = self.head(x_nchw)
        return self.shuffle(self.tail(self.body(first) + first))


class NearestSkip(Network):
    """Compact's skip: nearest-neighbour enlargement, added behind PixelShuffle."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        return super().forward(x_nchw) + F.interpolate(x_nchw, scale_factor=SCALE, mode="nearest")


class MeanShift(Network):
    """EDSR's and RCAN's handling of colour: (x - mean) * 255 at the start, x / 255 + mean at the end."""

    def __init__(self, block: Callable[[], nn.Module], *, as_convolution: bool) -> None:
        super().__init__(block)
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.sub, self.add = (self._shift(sign) for sign in (-1, 1)) if as_convolution else (None, None)

    def forward(self, x_nchw: Tensor) -> Tensor:
        if self.sub is None or self.add is None:
            return super().forward((x_nchw - self.mean) * 255) / 255 + self.mean
        return self.add(super().forward(self.sub(x_nchw * 255))) / 255

    def _shift(self, sign: int) -> nn.Conv2d:
        shift = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            shift.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            shift.bias = nn.Parameter(sign * 255 * torch.tensor(MEAN))
        shift.requires_grad_(False)  # frozen in EDSR too; `randomised` leaves it alone
        return shift


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and what a perfect fold leaves of it."""

    build: Callable[[], nn.Module]
    convs: int = 2 + BLOCKS_DEEP
    """Conv nodes at the fewest multiply-adds."""
    kept: str = ""
    """What stays unfolded, and why; empty where nothing does."""

    def __call__(self) -> nn.Module:
        """The network in evaluation mode, the same weights at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(18)
            return randomised(self.build())


def _case(block: Callable[[], nn.Module], *, convs_a_block: int = 1, kept: str = "") -> Case:
    return Case(build=lambda: Network(block), convs=2 + BLOCKS_DEEP * convs_a_block, kept=kept)


def _two_convolutions() -> nn.Module:
    return nn.Sequential(_conv(3), nn.ReLU(), _conv(3))


BLOCKS: dict[str, Case] = {
    "repvgg": _case(_repvgg),
    "acnet": _case(_acnet),
    "dbb": _case(_dbb),
    "sesr": Case(build=lambda: LongSkip(_sesr)),
    "mobileone": _case(_mobileone, convs_a_block=2),
    "conv3xc": _case(_conv3xc),
    "repmbconv": _case(_repmbconv),
    "ecb": _case(_ecb),
    "edges": _case(_edges),
    "repsr": _case(_repsr),
    "central-difference": _case(CentralDifference),
    "angular-difference": _case(AngularDifference),
    "coefficients": _case(Coefficients),
    "dense": _case(Dense),
    "weight-norm": _case(lambda: parametrizations.weight_norm(_conv(3))),
    "weight-norm-hook": _case(_old_weight_norm),
    "edsr": _case(lambda: Residual(_two_convolutions(), 0.1), convs_a_block=2),
    "adadm": _case(AdaDM, convs_a_block=2, kept="the factor, which depends on the image"),
    "partial": _case(Partial, kept="split and concat: a dense convolution would cost 16 times as much"),
    "separable": _case(_separable, convs_a_block=2, kept="the depthwise and the 1x1: their fold costs more"),
    "wdsr-b": _case(_wdsr_b, convs_a_block=3, kept="the low-rank pair: its fold costs more, and its border differs"),
    "dilated": _case(_dilated, convs_a_block=2, kept="both kernels: the 5x5 that covers them costs more"),
    "nearest-skip": Case(build=lambda: NearestSkip(lambda: _conv(3))),
    "mean-shift-convolution": Case(
        build=lambda: MeanShift(lambda: _conv(3), as_convolution=True), convs=5, kept="the shift, a depthwise 1x1"
    ),
    "mean-shift": Case(
        build=lambda: MeanShift(lambda: _conv(3), as_convolution=False), kept="the shift before the padded head"
    ),
}
"""Name -> network."""


def randomised(module: nn.Module) -> nn.Module:
    """`module` in evaluation mode with random statistics, biases and slopes: fresh ones hide nearly every mistake."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                cast("Tensor", part.running_mean).normal_(0, 0.3)
                cast("Tensor", part.running_var).uniform_(0.5, 1.5)
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.3)
            elif isinstance(part, nn.PReLU):
                part.weight.uniform_(-0.3, 0.6)
            elif isinstance(part, nn.Conv2d) and part.bias is not None and part.bias.requires_grad:
                part.bias.normal_(0, 0.2)
    return module.eval()
