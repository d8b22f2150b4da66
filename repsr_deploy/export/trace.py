"""From a PyTorch module to an ONNX graph, as it is: nothing is folded on the way, and ONNX Runtime must agree."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import Sequential, common
from torch import Tensor, nn

from repsr_deploy.errors import ProofError, RepsrError
from repsr_deploy.export.onnx import IR_VERSION, OPSET
from repsr_deploy.export.saving import save_graph, staged
from repsr_deploy.tolerances import TOLERANCES

SMALLEST_SIDE = 24
"""Images for tracing and checking are at least this large, LR pixels: receptive fields and borders then both count."""
CONSTANT_NUMBERS = 16
"""Constant expressions of up to so many numbers are evaluated: sizes and paddings, but no weights."""
MOVES = ("Reshape", "Unsqueeze", "Squeeze", "Transpose")
"""These are evaluated on constants of any size: they compute nothing."""


class Isolated(nn.Module):
    """A network behind one call, N x C x H x W -> an image, which leaves its input alone (RCAN writes into it)."""

    def __init__(self, network: nn.Module, call: Callable[[Any, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.network = network
        self.call = call
        """How to get an image from `network`, where that is not what it returns."""

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The image."""
        copy_nchw = x_nchw.clone()
        return self.network(copy_nchw) if self.call is None else self.call(self.network, copy_nchw)


def trace(module: nn.Module, channels: int, *, multiple_of: int = 1, minimum: int = 0) -> ir.Model:
    """The graph of `module`, N x channels x H x W float32 -> an image; `input`, `output`, dynamic N, H and W.

    Args:
        module: in evaluation mode, or with those parts in training mode whose branches the graph is to show.
        channels: of the input.
        multiple_of: what sides must be divisible by.
        minimum: smallest side.

    Raises:
        RepsrError: PyTorch cannot write it as ONNX with free sizes.
    """
    whole = module if isinstance(module, Isolated) else Isolated(module)
    height, width = _sides(multiple_of, minimum)[0]
    # odd multiples: where a network pads to even sizes and crops, only they show the crop, which does nothing to others
    example_nchw = torch.rand(2, channels, height, width)
    free = torch.export.Dim.DYNAMIC
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                whole,
                (example_nchw,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: free, 2: free, 3: free},),
                optimize=False,  # it would fold BatchNorm into convolutions, without proof
                verbose=False,
            )
    except Exception as error:  # whatever stops the exporter; its own errors have no common class
        cause = " ".join(str(error.__cause__ or error).split())[:300]
        raise RepsrError(
            f"PyTorch cannot write {type(whole.network).__name__} as ONNX with free image sizes ({cause}); "
            "export it yourself and give the .onnx file"
        ) from error
    assert program is not None
    return _tidied(program.model)


def export_module(
    module: nn.Module, reference: nn.Module, channels: int, path: Path, *, multiple_of: int = 1, minimum: int = 0
) -> float:
    """Write the graph of `module` to `path` once ONNX Runtime has reproduced `reference` with it.

    Weights are inside, or beside it as `NAME.onnx.data` where they are above 1.5 GB. The other arguments are those of
    `trace`.

    Returns:
        What `check_model` found.

    Raises:
        RepsrError: PyTorch cannot export the module, or `path` cannot be written.
        ProofError: the model and `reference` disagree; no file is written.
    """
    model = trace(module, channels, multiple_of=multiple_of, minimum=minimum)
    with staged(Path(path)) as temporary:
        save_graph(model, temporary)
        return check_model(temporary, reference, channels, multiple_of=multiple_of, minimum=minimum)


def check_model(path: Path, module: nn.Module, channels: int, *, multiple_of: int = 1, minimum: int = 0) -> float:
    """Run the model at `path` in ONNX Runtime and `module` in PyTorch at other sizes than the traced one.

    Returns:
        The largest difference, relative to the range of the output or to 1, whichever is larger.

    Raises:
        ProofError: an output has another shape, is not finite, or differs by more than the tolerance for `export`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(20)
    tolerance, worst = TOLERANCES["export"], 0.0
    for count, (height, width) in enumerate(_sides(multiple_of, minimum)[1:], start=1):
        x_nchw = torch.rand(count, channels, height, width, generator=generator)
        with torch.no_grad():
            expected = module(x_nchw.clone()).numpy()
        actual = np.asarray(session.run(["output"], {"input": x_nchw.numpy()})[0])
        at = f"for an input of {count}x{channels}x{height}x{width}"
        if actual.shape != expected.shape:
            raise ProofError(f"ONNX Runtime gives {actual.shape} {at}, PyTorch gives {expected.shape}")
        difference = float(np.abs(actual - expected).max()) / max(1.0, float(np.ptp(expected)))
        if not difference <= tolerance:
            raise ProofError(
                f"ONNX Runtime and PyTorch differ by {difference:.3g} of the range {at}; allowed {tolerance:.3g}"
            )
        worst = max(worst, difference)
    return worst


@contextmanager
def _quiet() -> Generator[None]:
    """Keeps from the user what the exporter says about itself; what stops it is in its exception."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            for category in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logging.disable(disabled)


def _sides(multiple_of: int, minimum: int) -> list[tuple[int, int]]:
    """(H, W) to trace with, then those to check: odd and even multiples, each side both."""
    first = -(-max(SMALLEST_SIDE, minimum) // multiple_of) // 2 * 2 + 1
    pairs = ((0, 2), (0, 1), (3, 4), (1, 3))
    return [((first + a) * multiple_of, (first + b) * multiple_of) for a, b in pairs]


def _tidied(model: ir.Model) -> ir.Model:
    """`model` without functions, stack traces and what only says sizes; names as in the module."""
    from onnxscript import optimizer

    common.InlinePass()(model)
    optimizer.fold_constants(
        model,
        input_size_limit=CONSTANT_NUMBERS,
        output_size_limit=CONSTANT_NUMBERS,
        should_fold=_should_fold,
    )
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.ClearMetadataAndDocStringPass(),
    )(model)
    for value in list(model.graph.initializers.values()):
        name = value.name or ""
        if name.startswith("network."):
            value.name = name.removeprefix("network.")
    model.ir_version = IR_VERSION
    return model


def _should_fold(node: ir.Node) -> bool | None:
    """Moves always; computations with floats never, for the optimizer would round them; None: what the sizes say."""
    if node.op_type in MOVES:
        return True
    floats = (item.dtype is not None and item.dtype.is_floating_point() for item in node.inputs if item is not None)
    return False if any(floats) else None
