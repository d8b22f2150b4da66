"""What kernels read and write: an address, a type and strides, in the memory of the host or of a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.errors import UsageError

Type = Literal["fp32", "fp16", "bf16", "uint8", "uint16"]
Layout = Literal["nchw", "nhwc"]
Order = Literal["rgb", "bgr"]
Strides = tuple[int, int, int, int]

ITEM_BYTES: dict[Type, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "uint8": 1, "uint16": 2}
NUMPY: dict[Type, np.dtype[Any]] = {
    "fp32": np.dtype(np.float32),
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(np.uint16),  # NumPy has no bfloat16: its bits
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
}
LONGEST_SIDE = 2**31 - 1
"""Kernels count pixels in 32 bits, and bytes in 64."""


@dataclass(frozen=True)
class Tensor:
    """A batch of images or features, N x C x H x W whatever lies beside what in memory.

    Element (n, c, y, x) lies `n * strides[0] + c * strides[1] + y * strides[2] + x * strides[3]` elements behind
    `address`. Pictures of interleaved samples have strides (.., 1, pitch, C); in the order BGR the address is that of
    red and the stride of channels is -1.

    Raises:
        UsageError: an unknown type, a side below 1 or beyond 2^31 - 1, memory beyond 64 bits, an address of 0 or one
            that is no multiple of the element's size.
    """

    address: int
    type: Type
    shape: tuple[int, int, int, int]
    strides: Strides
    _: KW_ONLY
    device: int | None = None
    """Ordinal of the GPU whose memory it is; None for the host's."""
    owner: Any = None
    """Whoever must live as long as the memory is used."""

    def __post_init__(self) -> None:
        if self.type not in get_args(Type):
            raise UsageError(f"tensor has the type {self.type!r}; expected one of {', '.join(get_args(Type))}")
        if len(self.shape) != 4 or len(self.strides) != 4:
            raise UsageError(f"tensor has shape {self.shape} and strides {self.strides}; expected four sides, N C H W")
        if not all(1 <= side <= LONGEST_SIDE for side in self.shape):
            raise UsageError(f"tensor has shape {self.shape}; expected sides from 1 to {LONGEST_SIDE}")
        size = ITEM_BYTES[self.type]
        if self.address <= 0 or self.address % size:
            raise UsageError(f"tensor of {self.type} lies at {self.address:#x}; expected a multiple of {size} above 0")
        low, high = self.extent
        if low < 0 or high > 2**63 - 1:
            raise UsageError(
                f"tensor of shape {self.shape} and strides {self.strides} reaches from byte {low} to {high}; "
                "expected addresses in 63 bits"
            )

    @property
    def extent(self) -> tuple[int, int]:
        """Addresses of its first byte and of the one behind its last."""
        size = ITEM_BYTES[self.type]
        reach = [(side - 1) * stride * size for side, stride in zip(self.shape, self.strides, strict=True)]
        return self.address + sum(min(item, 0) for item in reach), self.address + sum(max(i, 0) for i in reach) + size

    def part(self, top: int, left: int, rows: int, columns: int) -> Tensor:
        """A rectangle of all images, in the same memory.

        Raises:
            UsageError: it does not lie within.
        """
        count, channels, height, width = self.shape
        if not (0 <= top < top + rows <= height and 0 <= left < left + columns <= width):
            raise UsageError(
                f"part of {rows} x {columns} pixels at row {top}, column {left} does not lie in {height} x {width}"
            )
        offset = (top * self.strides[2] + left * self.strides[3]) * ITEM_BYTES[self.type]
        shape = (count, channels, rows, columns)
        return Tensor(self.address + offset, self.type, shape, self.strides, device=self.device, owner=self.owner)

    def numpy(self) -> NDArray[Any]:
        """The same memory as a NumPy array N x C x H x W; of bf16, its bits as uint16.

        Raises:
            UsageError: it is memory of a GPU.
        """
        if self.device is not None:
            raise UsageError(f"tensor lies in the memory of GPU {self.device}; expected the host's")
        import ctypes

        low, high = self.extent
        buffer: Any = (ctypes.c_uint8 * (high - low)).from_address(low)
        buffer.owner = self.owner  # lives as long as the array
        memory = np.ctypeslib.as_array(buffer)
        size = ITEM_BYTES[self.type]
        return np.ndarray(
            self.shape, NUMPY[self.type], memory, self.address - low, tuple(stride * size for stride in self.strides)
        )


def on_host(array: NDArray[Any], layout: Layout, *, type: Type | None = None, order: Order = "rgb") -> Tensor:  # noqa: A002 # the field's word
    """A NumPy array as a tensor, without a copy; any strides that are whole elements.

    Args:
        array: N x C x H x W or C x H x W for `nchw`, N x H x W x C or H x W x C for `nhwc`.
        type: `bf16` for an array of uint16 that holds such numbers; None for what the array's type says.
        order: of the colours in memory; the tensor's are always red, green, blue.

    Raises:
        UsageError: another type, other axes, or strides that are not whole elements.
    """
    address = array.__array_interface__["data"][0]
    found = type or _type_of(array.dtype.name)
    if ITEM_BYTES.get(found) != array.dtype.itemsize or not array.dtype.isnative:
        raise UsageError(f"array is {array.dtype}, which cannot hold {found} as this machine reads it")
    return place(address, found, array.shape, array.strides, layout, order=order, owner=array)


def place(
    address: int,
    type: Type,  # noqa: A002
    shape: Sequence[int],
    strides_bytes: Sequence[int],
    layout: Layout,
    *,
    order: Order = "rgb",
    device: int | None = None,
    owner: Any = None,
) -> Tensor:
    """An array anywhere as a tensor: shape and strides are the array's own, three or four of each, strides in bytes.

    Raises:
        UsageError: as `on_host`.
    """
    if len(shape) not in (3, 4) or layout not in get_args(Layout) or order not in get_args(Order):
        raise UsageError(
            f"array has shape {tuple(shape)}, layout {layout!r}, order {order!r}; expected 3 or 4 axes, "
            f"{' or '.join(get_args(Layout))}, {' or '.join(get_args(Order))}"
        )
    if type not in ITEM_BYTES:
        raise UsageError(f"array is said to be {type!r}; expected one of {', '.join(ITEM_BYTES)}")
    size = ITEM_BYTES[type]
    if any(stride % size for stride in strides_bytes):
        raise UsageError(f"array of {type} has strides of {tuple(strides_bytes)} bytes; expected multiples of {size}")
    sides, strides = list(shape), [stride // size for stride in strides_bytes]
    if len(sides) == 3:
        sides, strides = [1, *sides], [0, *strides]
    axes = (0, 1, 2, 3) if layout == "nchw" else (0, 3, 1, 2)
    count, channels, height, width = (sides[axis] for axis in axes)
    of_image, of_channel, of_row, of_pixel = (strides[axis] for axis in axes)
    if order == "bgr":
        address += (channels - 1) * of_channel * size
        of_channel = -of_channel
    return Tensor(
        address, type, (count, channels, height, width), (of_image, of_channel, of_row, of_pixel),
        device=device, owner=owner,
    )  # fmt: skip


def planar(
    address: int,
    type: Type,  # noqa: A002
    shape: tuple[int, int, int, int],
    *,
    device: int | None = None,
    owner: Any = None,
) -> Tensor:
    """Memory that holds N x C x H x W elements without gaps, W side by side.

    Raises:
        UsageError: as `Tensor`.
    """
    _, channels, height, width = shape
    strides = (channels * height * width, height * width, width, 1)
    return Tensor(address, type, shape, strides, device=device, owner=owner)


def _type_of(name: str) -> Type:
    names: dict[str, Type] = {
        "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "uint8": "uint8", "uint16": "uint16",
    }  # fmt: skip
    if name not in names:
        raise UsageError(f"array is {name}; expected one of {', '.join(names)}")
    return names[name]


def apart(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors share no byte, as far as their extents tell."""
    (low, high), (other_low, other_high) = first.extent, second.extent
    return first.device != second.device or high <= other_low or other_high <= low
