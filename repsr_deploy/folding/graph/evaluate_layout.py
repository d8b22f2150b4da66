"""Operators that move, pick, pad or make values without computing with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.folding.graph.evaluate_call import Call, Handler, Outputs

AS_THEY_ARE = {
    ir.DataType.BOOL: torch.bool,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
}


def torch_type(kind: int) -> torch.dtype:
    """The type that an ONNX data type has here: float64 for floating ones, int64 for integers that PyTorch lacks.

    Raises:
        ValueError: text or complex numbers.
    """
    data_type = ir.DataType(kind)
    if data_type.is_floating_point():
        return torch.float64
    if not data_type.is_integer() and data_type != ir.DataType.BOOL:
        raise ValueError(f"the data type {data_type.name} is not supported")
    return AS_THEY_ARE.get(data_type, torch.int64)


def as_tensor(array: Any) -> Tensor:
    """A number, an ONNX tensor or an array, in the type that `torch_type` says; a copy, for files are mapped read-only.

    Raises:
        ValueError: as `torch_type`.
    """
    values = np.asarray(array.numpy() if isinstance(array, ir.TensorProtocol) else array)
    kind = torch_type(ir.DataType.STRING if values.dtype.kind == "O" else ir.DataType.from_numpy(values.dtype))
    return torch.from_numpy(np.array(values, dtype=str(kind).removeprefix("torch.")))


def _constant(call: Call) -> Tensor:
    ((name, value),) = call.attributes.items()
    if name not in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        raise ValueError(f"it is given as {name}")
    return as_tensor(np.asarray(value, np.int64) if name.startswith("value_int") else value)


def _constant_of_shape(call: Call) -> Tensor:
    value = as_tensor(call.get("value", np.zeros(1, np.float32)))
    return value.reshape(()).expand(call[0].tolist()).clone()


def _shape(call: Call) -> Tensor:
    return torch.tensor(list(call[0].shape)[slice(call.get("start", 0), call.get("end", None))], dtype=torch.int64)


def _range(call: Call) -> Tensor:
    start, limit, delta = (call[index].item() for index in range(3))
    count = max(0, math.ceil((limit - start) / delta))
    return start + delta * torch.arange(count, dtype=call[0].dtype)


def _reshape(call: Call) -> Tensor:
    x, sizes = call[0], call[1].tolist()
    if not call.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(call: Call) -> Tensor:
    x, axis = call[0], call.get("axis", 1)
    rows = math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])
    return x.reshape(rows, x.numel() // rows if rows else -1)


def _squeeze(call: Call) -> Tensor:
    x, axes = call[0], call.ints(1, "axes")
    axes = [axis for axis, size in enumerate(x.shape) if size == 1] if axes is None else axes
    if any(x.shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} are not all of size 1")
    return x.squeeze(axes)


def _unsqueeze(call: Call) -> Tensor:
    x, axes = call[0], call.ints(1, "axes") or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> Tensor:
    x = call[0]
    return x.permute(tuple(call.get("perm", range(x.ndim)[::-1])))


def _expand(call: Call) -> Tensor:
    x = call[0]
    return x.expand(torch.broadcast_shapes(x.shape, call[1].tolist()))


def _split(call: Call) -> Outputs:
    x, axis, sizes = call[0], call.get("axis", 0), call.ints(1, "split")
    if sizes is None:
        return x.split(math.ceil(x.shape[axis] / call.output_count), axis)
    return x.split(sizes, axis)


def _slice(call: Call) -> Tensor:
    x, starts, ends = call[0], call.ints(1, "starts"), call.ints(2, "ends")
    assert starts is not None
    assert ends is not None
    axes = call.ints(3, "axes") or list(range(len(starts)))
    steps = call.ints(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = range(x.shape[axis])[slice(start, None if step < 0 and end < -x.shape[axis] else end, step)]
        if step > 0:
            index = (slice(None),) * (axis % x.ndim) + (slice(picked.start, picked.stop, step),)
            x = x[index]
        else:
            x = x.index_select(axis, torch.tensor(picked, dtype=torch.int64))
    return x


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Indices counted from the end, as those from the start."""
    return torch.where(indices < 0, indices + size, indices).long()


def _gather(call: Call) -> Tensor:
    x, axis = call[0], call.get("axis", 0)
    axis = axis % x.ndim
    indices = _wrapped(call[1], x.shape[axis])
    picked = x.index_select(axis, indices.flatten())
    return picked.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _gather_elements(call: Call) -> Tensor:
    x, axis = call[0], call.get("axis", 0)
    return x.gather(axis, _wrapped(call[1], x.shape[axis]))


def _gather_nd(call: Call) -> Tensor:
    x, indices, batch = call[0], call[1].long(), call.get("batch_dims", 0)
    size = indices.shape[-1]
    grids = torch.meshgrid(*(torch.arange(side) for side in x.shape[:batch]), indexing="ij") if batch else ()
    between = [1] * (indices.ndim - 1 - batch)
    leading = tuple(grid.reshape(*x.shape[:batch], *between) for grid in grids)
    return x[leading + tuple(_wrapped(indices[..., axis], x.shape[batch + axis]) for axis in range(size))]


REDUCED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter_elements(call: Call) -> Tensor:
    x, axis, how = call[0], call.get("axis", 0), call.get("reduction", "none")
    indices = _wrapped(call[1], x.shape[axis])
    if how == "none":
        return x.scatter(axis, indices, call[2])
    return x.scatter_reduce(axis, indices, call[2], REDUCED[how])


def _scatter_nd(call: Call) -> Tensor:
    x, indices, updates, how = call[0], call[1].long(), call[2], call.get("reduction", "none")
    size = indices.shape[-1]
    strides = [math.prod(x.shape[axis + 1 : size]) for axis in range(size)]
    places = torch.zeros(indices.shape[:-1], dtype=torch.int64)
    for axis, stride in enumerate(strides):
        places = places + stride * _wrapped(indices[..., axis], x.shape[axis])
    rows = x.reshape(math.prod(x.shape[:size]), -1)
    new = updates.reshape(places.numel(), -1)
    index = places.reshape(-1, 1).expand_as(new)
    y = rows.scatter(0, index, new) if how == "none" else rows.scatter_reduce(0, index, new, REDUCED[how])
    return y.reshape(x.shape)


def _pad(call: Call) -> Tensor:
    """Negative padding crops, before anything is reflected or repeated."""
    x, pads = call[0], call.ints(1, "pads")
    assert pads is not None
    axes = call.ints(3, "axes") or list(range(x.ndim))
    mode, value = call.get("mode", "constant"), call.optional(2)
    fill = call.get("value", 0) if value is None else value.item()
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        side = x.shape[axis]
        places = torch.arange(-low, side + high)
        if mode == "reflect":
            if max(low, high) >= side:  # the specification says nothing of it, and PyTorch and the runtimes refuse it
                raise ValueError(f"it mirrors {max(low, high)} pixels of the {side} along axis {axis}")
            period = max(1, 2 * (side - 1))
            places = (places % period).minimum(period - places % period)
        elif mode == "wrap":
            places = places % side
        inside = (places >= 0) & (places < side)
        x = x.index_select(axis, places.clamp(0, side - 1)) if side else x.new_zeros(_with(x, axis, len(places)))
        if mode == "constant" and not inside.all():
            x = torch.where(inside.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim)), x, fill)
    return x


def _with(x: Tensor, axis: int, side: int) -> list[int]:
    """The shape of `x` with another side along `axis`."""
    return [side if index == axis % x.ndim else size for index, size in enumerate(x.shape)]


def _depth_to_space(call: Call) -> Tensor:
    x, block = call[0], int(call.attributes["blocksize"])
    n, c, h, w = x.shape
    if call.get("mode", "DCR") == "DCR":
        parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(call: Call) -> Tensor:
    x, block = call[0], int(call.attributes["blocksize"])
    n, c, h, w = x.shape
    order = (0, 3, 5, 1, 2, 4) if call.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(order)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _dropout(call: Call) -> Outputs:
    training = call.optional(2)
    if training is not None and bool(training.item()):
        raise ValueError("it is in training mode")
    return (call[0], torch.ones_like(call[0], dtype=torch.bool))[: call.output_count]


def _one_hot(call: Call) -> Tensor:
    indices, depth, values = call[0].long(), int(call[1].item()), call[2]
    axis = call.get("axis", -1)
    axis = axis % (indices.ndim + 1)
    places = torch.arange(depth).reshape(-1, *[1] * (indices.ndim - axis))
    chosen = _wrapped(indices, depth).unsqueeze(axis) == places
    return torch.where(chosen, values[1], values[0])


def _trilu(call: Call) -> Tensor:
    offset = call.optional(1)
    diagonal = 0 if offset is None else int(offset.item())
    return call[0].triu(diagonal) if call.get("upper", 1) else call[0].tril(diagonal)


def _concat(call: Call) -> Tensor:
    return torch.cat(call.present(), call.attributes["axis"])


HANDLERS: dict[str, Handler] = {
    "Cast": lambda call: call[0].to(torch_type(call.attributes["to"])),
    "CastLike": lambda call: call[0].to(call[1].dtype),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda call: call[0].nonzero().T,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": lambda call: torch.tensor(call[0].numel()),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda call: call[0].tile(call[1].tolist()),
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
