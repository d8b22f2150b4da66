"""The algebra of linear image operators: pure functions on convolutions in float64.

Everything between two non-linearities of a network is a sum of chains of convolutions, so two rules, `compose` and
`add`, fold any of it; the other functions only write an operator as a convolution. RepSR, section 1.2 of the fact sheet
(W = sum_k W1_k W3'_k + identity), ECBSR's ECB and RepVGG's block are all instances. All functions are differentiable,
so the same algebra folds a network during training.

What a bias before zero padding does at the border is linear too: it is a convolution of an image of ones, which zero
padding surrounds like any other. So an operator keeps, beside the kernel for the image, one for the ones (`ones_ohw`),
and BatchNorm or a 1x1 convolution with a bias before a padded convolution folds exactly, borders included. What would
be exact in the interior only is refused with `FoldError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor

from repsr_deploy.errors import FoldError

BORDER_TOLERANCE = 1e-12
"""Two values outside the image are the same if they differ by this little: rounding of float64."""

LARGEST_CANCELLATION = 100.0
"""How much larger the products of a kernel and a shift may be than their sum: as many times float32 rounds worse."""

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right, as in ONNX; negative numbers crop."""


@dataclass(frozen=True)
class Conv:
    """y[p] = sum_k weight[k] x[s p + k - t] + sum_k ones[k] 1[s p + k - t] + bias, with x and 1 zero outside the image.

    1 is an image of ones of the size of x, s the strides, t the top and left of the pads.
    """

    weight_oihw: Tensor
    """O x I x kh x kw, float64."""
    bias_o: Tensor
    """O, float64."""
    ones_ohw: Tensor | None = None
    """O x kh x kw, float64: the kernel for the image of ones; None is zero."""
    pads: Pads = (0, 0, 0, 0)
    strides: tuple[int, int] = (1, 1)

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.weight_oihw.shape[2], self.weight_oihw.shape[3]

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 kernel without pads: looks at no neighbour, so borders mean nothing to it."""
        return self.kernel == (1, 1) and not any(self.pads)

    @property
    def reads_outside(self) -> bool:
        """Whether a tap of the kernel may lie outside the image."""
        return any(pad > 0 for pad in self.pads)

    def __str__(self) -> str:
        size = f"{self.kernel[0]}x{self.kernel[1]}"
        return size if self.strides == (1, 1) else f"{size} of stride {self.strides[0]}"

    def __call__(self, x_nchw: Tensor) -> Tensor:
        """Apply the operator as it is defined, border included: N x I x H x W -> N x O x H' x W'."""
        top, left, bottom, right = self.pads
        frame = [left, right, top, bottom]
        out = F.conv2d(F.pad(x_nchw, frame), self.weight_oihw, self.bias_o, self.strides)
        if self.ones_ohw is None:
            return out
        ones = F.pad(x_nchw.new_ones(1, 1, *x_nchw.shape[2:]), frame)
        return out + F.conv2d(ones, self.ones_ohw[:, None], stride=self.strides)


def conv(
    weight: Tensor,
    bias: Tensor | None = None,
    border: Tensor | None = None,
    *,
    groups: int = 1,
    pads: Pads | None = None,
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
) -> Conv:
    """A convolution from a layer's own tensors: O x I/groups x kh x kw and O; grouped kernels are made dense.

    Args:
        weight: of any floating type.
        bias: none is zero.
        border: I values that surround the image instead of zeros.
        groups: blocks of the channels that do not see each other.
        pads: pixels added on each side; None keeps the size of the image.
        strides: step of the kernel.
        dilations: distance of its taps; the kernel is filled up with zeros.

    Raises:
        FoldError: `pads` is None and the kernel has an even size, so that no padding is meant.
    """
    weight_oihw = _dense(_dilated(weight.double(), dilations), groups)
    out_channels, _, height, width = weight_oihw.shape
    if pads is None:
        if height % 2 == 0 or width % 2 == 0:
            raise FoldError(f"kernel is {height}x{width}; only kernels of odd size keep the image size")
        pads = (height // 2, width // 2, height // 2, width // 2)
    bias_o = weight_oihw.new_zeros(out_channels) if bias is None else bias.double()
    if border is None or (height, width) == (1, 1):
        return Conv(weight_oihw, bias_o, None, pads, strides)
    # surrounded by v: x - v surrounded by zeros, plus v everywhere
    read_ohw = torch.einsum("oihw,i->ohw", weight_oihw, border.double())
    return Conv(weight_oihw, bias_o + read_ohw.sum((1, 2)), -read_ohw, pads, strides)


def _dilated(weight_oihw: Tensor, dilations: tuple[int, int]) -> Tensor:
    if dilations == (1, 1):
        return weight_oihw
    height, width = ((size - 1) * step + 1 for size, step in zip(weight_oihw.shape[2:], dilations, strict=True))
    filled = weight_oihw.new_zeros(*weight_oihw.shape[:2], height, width)
    filled[:, :, :: dilations[0], :: dilations[1]] = weight_oihw
    return filled


def _dense(weight_oihw: Tensor, groups: int) -> Tensor:
    if groups == 1:
        return weight_oihw
    out_channels, group_in, height, width = weight_oihw.shape
    blocks = weight_oihw.view(groups, out_channels // groups, 1, group_in, height, width)
    diagonal = torch.eye(groups, dtype=torch.float64, device=weight_oihw.device).view(groups, 1, groups, 1, 1, 1)
    return (blocks * diagonal).reshape(out_channels, group_in * groups, height, width)


def affine(scale: Tensor, shift: Tensor) -> Conv:
    """Per-channel y = scale * x + shift, as a 1x1 convolution."""
    return conv(torch.diag(scale.double())[:, :, None, None], shift)


def identity(channels: int, device: torch.device | None = None) -> Conv:
    """The identity, as a 1x1 convolution."""
    return affine(torch.ones(channels, device=device), torch.zeros(channels, device=device))


def select(index: Sequence[int], channels: int) -> Conv:
    """Channels `index` of `channels`, in that order, -1 being a channel of zeros: Slice, Split and Concat as a 1x1."""
    weight = torch.zeros(len(index), channels, 1, 1, dtype=torch.float64)
    for row, column in enumerate(index):
        if column >= 0:
            weight[row, column] = 1
    return conv(weight)


def batch_norm(gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """gamma * (x - mean) / sqrt(var + eps) + beta, BatchNorm with population statistics, as (scale, shift), each C."""
    gain = gamma.double() / torch.sqrt(var.double() + eps)
    return gain, beta.double() - gain * mean.double()


def shifted(weight: Tensor, bias: Tensor, shift: Tensor) -> Conv:
    """A zero-padded convolution of x - shift: O x I x k x k, O and I."""
    offset = torch.einsum("oihw,i->ohw", weight.double(), shift.double())
    return replace(conv(weight, bias), ones_ohw=-offset)


def weight_norm(direction: Tensor, gain: Tensor) -> Tensor:
    """Weight normalisation (Salimans and Kingma 2016): gain_o * direction_oihw / |direction_o|, in float64."""
    direction_oihw = direction.double()
    norm_o = torch.linalg.vector_norm(direction_oihw, dim=(1, 2, 3))
    return direction_oihw * (gain.double() / norm_o)[:, None, None, None]


def compose(first: Conv, second: Conv, *, allow_border: bool = False) -> Conv:
    """second(first(x)) as one convolution, exact at every pixel.

    With kernels W1 of stride s and W2 the kernel is W[y] = sum_k W2[k] W1[y - s k], the pads p1 + s p2. Exact where
    - `second` does not read outside: the bias of `first` becomes one of the whole;
    - `first` is pointwise: zeros after it are zeros before it, and its bias a kernel for the ones;
    - `first` has pads so wide that it gives zero outside by itself, as a padding layer does.

    Args:
        first: applied first.
        second: applied to what `first` gives.
        allow_border: instead of refusing, give the operator that is exact in the interior.

    Raises:
        FoldError: the fold would be exact in the interior only.
    """
    rows, columns = first.strides
    stride = (rows * second.strides[0], columns * second.strides[1])
    pads = chained_pads(first.pads, first.strides, second.pads)
    weight = _chained(second.weight_oihw, first.weight_oihw, first.strides)
    ones = None if first.ones_ohw is None else _chained_ones(second.weight_oihw, first.ones_ohw, first.strides)

    exact = not second.reads_outside or _is_exact(first, second)
    if not second.reads_outside or (allow_border and not exact):
        bias = torch.einsum("omhw,m->o", second.weight_oihw, first.bias_o) + second.bias_o
        if second.ones_ohw is not None:
            bias = bias + second.ones_ohw.sum((1, 2))
        return without_zero_ones(Conv(weight, bias, ones, pads, stride))
    if not exact:
        raise FoldError(
            f"a {first} convolution followed by a padded {second} one folds exactly in the interior only; its border "
            "would differ"
        )
    if first.is_pointwise:
        constant = first.bias_o if first.ones_ohw is None else first.bias_o + first.ones_ohw[:, 0, 0]
        ones = _chained_ones(second.weight_oihw, constant[:, None, None], first.strides)
        if second.ones_ohw is not None:
            ones = ones + _dilated(second.ones_ohw[:, None], first.strides)[:, 0]
    return without_zero_ones(Conv(weight, second.bias_o, ones, pads, stride))


def chained_pads(first: Pads, strides: tuple[int, int], second: Pads) -> Pads:
    """Pads of a chain, first + strides * second."""
    (rows, columns), (top, left, bottom, right) = strides, second
    return first[0] + rows * top, first[1] + columns * left, first[2] + rows * bottom, first[3] + columns * right


def widest_pads(first: Pads, second: Pads) -> Pads:
    """Pads that reach as far as both."""
    return max(first[0], second[0]), max(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])


def _is_exact(first: Conv, second: Conv) -> bool:
    """Whether `first`, given zeros outside the image, gives zeros or, if pointwise, its bias there."""
    if first.is_pointwise:
        return True
    height, width = first.kernel
    needed = (height - 1, width - 1, height - 1, width - 1)
    fades = first.strides == (1, 1) and all(pad >= need for pad, need in zip(first.pads, needed, strict=True))
    return fades and second.ones_ohw is None and _is_zero(first.bias_o, first.weight_oihw)


def _chained(second_omhw: Tensor, first_mihw: Tensor, strides: tuple[int, int]) -> Tensor:
    """W[y] = sum_k second[k] first[y - stride * k]."""
    if second_omhw.shape[2:] == (1, 1):
        return torch.einsum("om,mihw->oihw", second_omhw[:, :, 0, 0], first_mihw)
    if first_mihw.shape[2:] == (1, 1):
        return _dilated(torch.einsum("omhw,mi->oihw", second_omhw, first_mihw[:, :, 0, 0]), strides)
    return F.conv_transpose2d(second_omhw, first_mihw, stride=strides)


def _chained_ones(second_omhw: Tensor, ones_mhw: Tensor, strides: tuple[int, int]) -> Tensor:
    return _chained(second_omhw, ones_mhw[:, None], strides)[:, 0]


def _is_zero(values: Tensor, measure: Tensor) -> bool:
    """Whether `values` are rounding beside `measure`."""
    with torch.no_grad():
        largest = values.abs().max().item()
        return largest == 0 or largest <= BORDER_TOLERANCE * max(1.0, measure.abs().max().item())


def without_zero_ones(operator: Conv) -> Conv:
    """The same operator; where the kernel for the ones is zero but for rounding, without it."""
    if operator.ones_ohw is None or not _is_zero(operator.ones_ohw, operator.weight_oihw):
        return operator
    return replace(operator, ones_ohw=None)


def chain(operators: Sequence[Conv]) -> Conv:
    """One branch, operators in the order in which they are applied, as one convolution."""
    return reduce(compose, operators)


def add(first: Conv, second: Conv) -> Conv:
    """first(x) + second(x) as one convolution: kernels are surrounded by zeros until they cover each other.

    Raises:
        FoldError: their outputs differ in size or step.
    """
    if first.strides != second.strides or _shrinkage(first) != _shrinkage(second):
        raise FoldError(
            f"branches {first} with pads {first.pads} and {second} with pads {second.pads} give images of other sizes"
        )
    wide, narrow = (first, second) if first.kernel >= second.kernel else (second, first)
    pads = widest_pads(wide.pads, narrow.pads)
    wide, narrow = widened(wide, pads), widened(narrow, pads)
    ones = wide.ones_ohw if narrow.ones_ohw is None else narrow.ones_ohw
    if wide.ones_ohw is not None and narrow.ones_ohw is not None:
        ones = wide.ones_ohw + narrow.ones_ohw
    total = replace(wide, weight_oihw=wide.weight_oihw + narrow.weight_oihw, bias_o=wide.bias_o + narrow.bias_o)
    return total if ones is None else without_zero_ones(replace(total, ones_ohw=ones))


def _shrinkage(operator: Conv) -> tuple[int, int]:
    top, left, bottom, right = operator.pads
    return operator.kernel[0] - top - bottom, operator.kernel[1] - left - right


def widened(operator: Conv, pads: Pads) -> Conv:
    """The same operator with at least its own pads, its kernel grown with zeros to reach as far."""
    top, left, bottom, right = (new - old for new, old in zip(pads, operator.pads, strict=True))
    if not any((top, left, bottom, right)):
        return operator
    frame = [left, right, top, bottom]
    ones = None if operator.ones_ohw is None else F.pad(operator.ones_ohw, frame)
    return replace(operator, weight_oihw=F.pad(operator.weight_oihw, frame), ones_ohw=ones, pads=pads)


def merge(branches: Sequence[Sequence[Conv]]) -> Conv:
    """A block, the sum of its branches, as one convolution."""
    return reduce(add, map(chain, branches))


def shift_of(operator: Conv) -> Tensor | None:
    """The I values whose subtraction from x does what the kernel for the ones does; None where no values do.

    Then y = weight * (x - shift), zero-padded, + bias: `shifted`.
    """
    if operator.ones_ohw is None:
        return operator.weight_oihw.new_zeros(operator.weight_oihw.shape[1])
    taps = operator.weight_oihw.permute(0, 2, 3, 1).flatten(0, 2)
    shift = -torch.linalg.lstsq(taps, operator.ones_ohw.flatten()[:, None], driver="gelsd").solution[:, 0]
    left_over = torch.einsum("oihw,i->ohw", operator.weight_oihw, shift) + operator.ones_ohw
    return shift if _is_zero(left_over, operator.ones_ohw) else None


def settled(operator: Conv) -> Conv:
    """The same operator, with in its bias what the ones give everywhere: the taps that never lie outside the image."""
    if operator.ones_ohw is None:
        return operator
    inside = _inside(operator)
    ones = operator.ones_ohw.clone()
    ones[inside] = 0
    bias = operator.bias_o + operator.ones_ohw[inside].sum((1, 2))
    return without_zero_ones(replace(operator, bias_o=bias, ones_ohw=ones))


def with_shift(operator: Conv) -> tuple[Conv, Tensor] | None:
    """The same operator and a shift, I values, as weight * (x - shift), zero-padded, + bias; None where no shift is.

    More than `shift_of` finds: the bias may change, so that a branch that does not read outside may be shifted, too.
    And less: a shift so large that little but rounding is left of x - shift is none.
    """
    settled_ones = settled(operator)
    if settled_ones.ones_ohw is None:
        return settled_ones, operator.weight_oihw.new_zeros(operator.weight_oihw.shape[1])
    inside = _inside(operator)
    outer = torch.ones_like(operator.weight_oihw)
    outer[inside] = 0
    shift = shift_of(replace(settled_ones, weight_oihw=operator.weight_oihw * outer))
    if shift is None:
        return None
    loudest = torch.einsum("oihw,i->ohw", (operator.weight_oihw * outer).abs(), shift.abs()).max()
    if loudest > LARGEST_CANCELLATION * settled_ones.ones_ohw.abs().max():
        return None
    offset = torch.einsum("oihw,i->ohw", operator.weight_oihw, shift)
    return replace(settled_ones, bias_o=settled_ones.bias_o + offset[inside].sum((1, 2)), ones_ohw=-offset), shift


def _inside(operator: Conv) -> tuple[EllipsisType, slice, slice]:
    (top, left, bottom, right), (height, width) = operator.pads, operator.kernel
    rows, columns = slice(max(0, top), height - max(0, bottom)), slice(max(0, left), width - max(0, right))
    return (..., rows, columns)
