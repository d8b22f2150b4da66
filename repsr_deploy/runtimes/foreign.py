"""What a file that says nothing about itself is found to be: by trying it, and by walking its graph."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from repsr_deploy.errors import ModelFileError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes.source import Source, label_of, name_of

log = logging.getLogger(__name__)

PROBE_SHAPES = ((19, 24), (40, 23))
"""(H, W) at which the scale is tried."""


def derive_info(model: Source, colour: Colour, run: Callable[[Any], Any]) -> ModelInfo:
    """Scale, halo and width of a foreign .onnx model of io `float`; a warning says what was taken for granted.

    Args:
        model: the file or its content.
        colour: as its input says.
        run: the opened model on a batch of float32, N x C x H x W.

    Raises:
        ModelFileError: it does not enlarge by one whole number, or an operator looks too far.
        RuntimeUnavailableError: the onnx package, which reads the graph, is not installed.
    """
    from repsr_deploy.runtimes.graph import derive_reach

    label = label_of(model)
    scales: set[float] = set()
    for height, width in PROBE_SHAPES:
        shape = run(np.full((1, 3 if colour == "rgb" else 1, height, width), 0.5, np.float32)).shape
        scales |= {shape[2] / height, shape[3] / width}
    scale = scales.pop()
    if scales or scale != int(scale) or scale < 1:
        raise ModelFileError(f"{label} does not enlarge by one whole number; expected an upscaling model")
    reach = derive_reach(model, label)
    return found_info(model, colour, scale=int(scale), halo=reach.halo, width=reach.width)


def found_info(
    model: Source, colour: Colour, *, scale: int, halo: int, width: int, precision: Precision = "fp32"
) -> ModelInfo:
    """What was found out about a foreign model; a warning says so, and what was taken for granted."""
    meaning = "RGB in 0..1" if colour == "rgb" else "studio-range BT.601 luma / 255"
    found = f"derived scale {scale}, halo {halo}"
    warn_once(f"{label_of(model)} says nothing about itself: {found}; taking its input as {meaning}")
    return ModelInfo(name=name_of(model), scale=scale, halo=halo, colour=colour, width=width, precision=precision)


@cache
def warn_once(message: str) -> None:
    """Log a warning that has not been logged: `auto` opens a file in one backend after the other."""
    log.warning(message)
