"""What a handler of an operator gets: the inputs of one node and its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Call:
    """One node about to run. Floating tensors are float64."""

    inputs: tuple[Tensor | None, ...]
    """None where the node leaves an optional input out."""
    attributes: Mapping[str, Any]
    output_count: int

    def __getitem__(self, index: int) -> Tensor:
        """An input that the operator requires."""
        tensor = self.optional(index)
        if tensor is None:
            raise ValueError(f"input {index} is missing")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """An input, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def present(self) -> list[Tensor]:
        """The inputs of an operator that takes any number."""
        return [tensor for tensor in self.inputs if tensor is not None]

    def get(self, name: str, default: Any) -> Any:
        """An attribute, or the value that ONNX gives it."""
        return self.attributes.get(name, default)

    def ints(self, index: int, name: str) -> list[int] | None:
        """Integers that newer operator sets take as input `index` and older ones as attribute `name`."""
        tensor = self.optional(index)
        if tensor is not None:
            return [int(value) for value in tensor.flatten().tolist()]
        values = self.attributes.get(name)
        return None if values is None else [int(value) for value in values]


Outputs = Tensor | tuple[Tensor, ...]
Handler = Callable[[Call], Outputs]
