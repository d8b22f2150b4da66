"""The algebra of linear image operators: pure functions on (weight, bias, padding) in float64.

Everything between two non-linearities of a network is a sum of chains of convolutions, so two rules, `compose` and
`add`, fold any of it; the other functions only write an operator as a convolution. RepSR, section 1.2 of the fact sheet
(W = sum_k W1_k W3'_k + identity), ECBSR's ECB and RepVGG's block are all instances. All functions are differentiable,
so the same algebra folds a network during training.

A rule knows when it is exact: an operator whose fold would differ at the image border is refused with `FoldError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.errors import FoldError

BORDER_TOLERANCE = 1e-12
"""Two values outside the image are the same if they differ by this little: rounding of float64."""


@dataclass(frozen=True)
class Conv:
    """y = weight * pad(x) + bias, stride 1, where pad() surrounds channel i of x with the constant `border_i[i]`."""

    weight_oihw: Tensor
    """O x I x k x k, k odd, float64."""
    bias_o: Tensor
    """O, float64."""
    border_i: Tensor | None = None
    """I, float64: value outside the image; None is ordinary zero padding; 1x1 kernels never read it."""

    @property
    def radius(self) -> int:
        """(k - 1) / 2, which is also the width of the padding on each side."""
        return (self.weight_oihw.shape[-1] - 1) // 2

    @property
    def size(self) -> str:
        """The kernel's size in words: `3x3`."""
        return f"{2 * self.radius + 1}x{2 * self.radius + 1}"

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 kernel: looks at no neighbour, so borders mean nothing to it."""
        return self.radius == 0

    def __call__(self, x_nchw: Tensor) -> Tensor:
        """Apply the operator as it is defined, border included: N x I x H x W -> N x O x H x W."""
        if self.border_i is None:
            return F.conv2d(x_nchw, self.weight_oihw, self.bias_o, padding=self.radius)
        border = self.border_i.view(1, -1, 1, 1)
        padded = F.pad(x_nchw - border, [self.radius] * 4) + border
        return F.conv2d(padded, self.weight_oihw, self.bias_o)

    def outside(self) -> Tensor:
        """Value outside the image, I, float64."""
        return self.weight_oihw.new_zeros(self.weight_oihw.shape[1]) if self.border_i is None else self.border_i


def conv(weight: Tensor, bias: Tensor | None = None, border: Tensor | None = None, *, groups: int = 1) -> Conv:
    """A convolution from a layer's own tensors: O x I/groups x k x k and O; grouped kernels are made dense.

    Raises:
        FoldError: the kernel is not square with an odd size.
    """
    weight_oihw = weight.double()
    out_channels, group_in, height, width = weight_oihw.shape
    if height != width or height % 2 == 0:
        raise FoldError(f"kernel is {height}x{width}; only square kernels of odd size keep the image size")
    if groups > 1:
        blocks = weight_oihw.view(groups, out_channels // groups, 1, group_in, height, width)
        diagonal = torch.eye(groups, dtype=torch.float64, device=weight.device).view(groups, 1, groups, 1, 1, 1)
        weight_oihw = (blocks * diagonal).reshape(out_channels, group_in * groups, height, width)
    bias_o = weight_oihw.new_zeros(out_channels) if bias is None else bias.double()
    return Conv(weight_oihw, bias_o, None if border is None else border.double())


def affine(scale: Tensor, shift: Tensor) -> Conv:
    """Per-channel y = scale * x + shift, as a 1x1 convolution."""
    return conv(torch.diag(scale.double())[:, :, None, None], shift)


def affine_before_padding(scale: Tensor, shift: Tensor) -> Conv:
    """`affine` before a zero-padded convolution: it reads -shift / scale outside the image, which it maps to zero.

    So BatchNorm, or the subtraction of a mean, before a padded convolution folds exactly at the border too.

    Raises:
        FoldError: a scale is 0 where its shift is not, so that no value gives zero.
    """
    if bool(((scale == 0) & (shift != 0)).any()):
        raise FoldError(
            "a channel is scaled by 0 and shifted before a zero-padded convolution; its fold would be exact in the "
            "interior only"
        )
    scale_c, shift_c = scale.double(), shift.double()
    return conv(torch.diag(scale_c)[:, :, None, None], shift_c, border=torch.where(scale_c == 0, 0, -shift_c / scale_c))


def batch_norm(gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """gamma * (x - mean) / sqrt(var + eps) + beta, BatchNorm with population statistics, as (scale, shift), each C."""
    gain = gamma.double() / torch.sqrt(var.double() + eps)
    return gain, beta.double() - gain * mean.double()


def shifted(weight: Tensor, bias: Tensor, shift: Tensor) -> Conv:
    """A zero-padded convolution of x - shift: O x I x k x k, O and I. The border reads `shift`, which becomes zero."""
    weight_oihw = weight.double()
    offset = torch.einsum("oihw,i->o", weight_oihw, shift.double())
    return conv(weight_oihw, bias.double() - offset, border=shift)


def weight_norm(direction: Tensor, gain: Tensor) -> Tensor:
    """Weight normalisation (Salimans and Kingma 2016): gain_o * direction_oihw / |direction_o|, in float64."""
    direction_oihw = direction.double()
    norm_o = torch.linalg.vector_norm(direction_oihw, dim=(1, 2, 3))
    return direction_oihw * (gain.double() / norm_o)[:, None, None, None]


def identity(channels: int, device: torch.device | None = None) -> Conv:
    """The identity, as a 1x1 convolution."""
    return affine(torch.ones(channels, device=device), torch.zeros(channels, device=device))


def compose(first: Conv, second: Conv) -> Conv:
    """second(first(x)) as one convolution, exact at every pixel.

    Raises:
        FoldError: the fold would be exact in the interior only. That is so where `second` is wider than 1x1 and
            reads, outside the image, something else than what `first` would give there.
    """
    if second.is_pointwise:
        weight = torch.einsum("om,mihw->oihw", second.weight_oihw[:, :, 0, 0], first.weight_oihw)
        bias = second.weight_oihw[:, :, 0, 0] @ first.bias_o + second.bias_o
        return Conv(weight, bias, first.border_i)
    if not first.is_pointwise:
        raise FoldError(
            f"a {first.size} convolution followed by a padded {second.size} one folds exactly in the interior only; "
            "its border would differ"
        )
    # Outside the image the folded kernel reads first.border_i: the unfolded one must have read first(first.border_i)
    with torch.no_grad():
        outside_m, padding_m = first.weight_oihw[:, :, 0, 0] @ first.outside() + first.bias_o, second.outside()
        difference = (outside_m - padding_m).abs().max().item()
        largest = padding_m.abs().max().item()
    if not difference <= BORDER_TOLERANCE * max(1.0, largest):
        raise FoldError(
            "a 1x1 convolution with a bias followed by a convolution that pads with another value folds exactly in the "
            f"interior only (largest difference outside the image {difference:.3g}); pad with the bias instead"
        )
    weight = torch.einsum("omhw,mi->oihw", second.weight_oihw, first.weight_oihw[:, :, 0, 0])
    bias = torch.einsum("omhw,m->o", second.weight_oihw, first.bias_o) + second.bias_o
    return Conv(weight, bias, first.border_i)


def before_padding(operator: Conv) -> Conv:
    """The pointwise `operator` before a zero-padded convolution: told to read outside what it maps to zero.

    Raises:
        FoldError: it maps nothing to zero, as with more outputs than inputs.
    """
    assert operator.is_pointwise
    matrix = operator.weight_oihw[:, :, 0, 0]
    border_i = -torch.linalg.pinv(matrix) @ operator.bias_o
    left = (matrix @ border_i + operator.bias_o).abs().max().item()
    if not left <= BORDER_TOLERANCE * max(1.0, operator.bias_o.abs().max().item()):
        raise FoldError(
            f"no value outside the image gives the zero that the next convolution pads with (left over: {left:.3g}); "
            "its fold would be exact in the interior only"
        )
    return Conv(operator.weight_oihw, operator.bias_o, border_i)


def chain(operators: Sequence[Conv]) -> Conv:
    """One branch, operators in the order in which they are applied, as one convolution."""
    return reduce(compose, operators)


def add(first: Conv, second: Conv) -> Conv:
    """first(x) + second(x) as one convolution; the smaller kernel is centred in the larger.

    Raises:
        FoldError: both read beyond the border and expect different values there.
    """
    wide, narrow = (first, second) if first.radius >= second.radius else (second, first)
    if not narrow.is_pointwise and not _same_border(wide, narrow):
        raise FoldError("two branches pad with different values; their sum folds exactly in the interior only")
    weight = wide.weight_oihw + F.pad(narrow.weight_oihw, [wide.radius - narrow.radius] * 4)
    return Conv(weight, wide.bias_o + narrow.bias_o, wide.border_i)


def _same_border(first: Conv, second: Conv) -> bool:
    if first.border_i is None and second.border_i is None:
        return True
    return torch.allclose(first.outside(), second.outside(), rtol=0, atol=BORDER_TOLERANCE)


def merge(branches: Sequence[Sequence[Conv]]) -> Conv:
    """A block, the sum of its branches, as one convolution."""
    return reduce(add, map(chain, branches))
