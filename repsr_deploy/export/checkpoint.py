"""From a trained checkpoint to a model file: fold, prove, export, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.checkpoint import load_checkpoint
from repsr_deploy.errors import UsageError
from repsr_deploy.export.calibration import calibrate_on
from repsr_deploy.export.onnx import export_folded
from repsr_deploy.export.probes import photograph_probe
from repsr_deploy.files import sha256, write_text
from repsr_deploy.folding.fold import fold
from repsr_deploy.folding.proof import Proof
from repsr_deploy.model_info import ModelInfo


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and what it found."""

    info: ModelInfo
    proof: Proof
    check: dict[str, Any]
    """The comparison of ONNX Runtime with PyTorch: shapes, largest relative error, tolerance."""
    calibration: dict[str, Any] | None
    """Where AdaDM's factor was made constant: photographs, and PSNR-Y in dB on them `before` and `after`."""


def export_checkpoint(
    checkpoint: Path,
    model: Path,
    proof: Path | None = None,
    probes: Sequence[Path] = (),
    calibration: Sequence[Path] = (),
) -> ExportReport:
    """Fold a checkpoint, prove the fold, write the ONNX model and, where asked for, the proof.

    Args:
        checkpoint: a .safetensors file written by repsr-train, of any family.
        model: the .onnx file to write; it gets its name only after every check has passed.
        proof: the .json file to write.
        probes: photographs to use in the proof, beside the built-in images.
        calibration: HR photographs on which AdaDM's factor is made a constant before the fold; none to keep it.

    Raises:
        UsageError: `model` is no .onnx name, or an output would overwrite the input.
        ImageFileError: a probe cannot be read.
        ModelFileError, FoldError, ProofError, RepsrError: as `load_checkpoint`, `fold` and `export_folded`.
    """
    if model.suffix.lower() != ".onnx":
        raise UsageError(f"output is {model}; expected a name that ends in .onnx")
    if proof is not None and proof.resolve() in (checkpoint.resolve(), model.resolve()):
        raise UsageError(f"the proof would overwrite {proof}; choose another name")
    net, trained = load_checkpoint(checkpoint)
    measured = None
    if calibration:
        net, measured = calibrate_on(net, calibration)
    result = fold(net, {path.name: photograph_probe(path, net.spec) for path in probes})
    source = {"stage": "fold", "network": net.spec.name, "checkpoint_sha256": sha256(checkpoint.read_bytes())}
    info = ModelInfo(
        name=result.net.spec.name,
        scale=net.spec.scale,
        halo=net.spec.halo,
        colour=net.spec.colour,
        width=net.spec.folded.width,
        version=__version__,
        data_licence=trained.data_licence,
        proof=result.proof.summary(),
        psnr=trained.psnr,
        history=[*trained.history, {**source, "version": __version__, "calibration": measured}],
    )
    check = export_folded(result.net, info, model)
    if proof is not None:
        write_text(proof, result.proof.to_json())
    return ExportReport(info, result.proof, check, measured)
