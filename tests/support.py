"""What several test folders need."""

from __future__ import annotations

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[torch.library.Library] = []  # a declaration lasts as long as its library object


def declare_torchvision_schemas() -> None:
    """Make torchvision importable beside a PyTorch that it was not built for, as the CPU build from another index is.

    It registers meta kernels of two operators when imported, and its extension, which declares them, is missing then.
    spandrel needs none of them for the networks of the tests. Does nothing where the operators are there.
    """
    if _LIBRARIES or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _LIBRARIES.append(library)
