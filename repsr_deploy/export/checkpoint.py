"""From a trained checkpoint to a model file: fold, prove, export, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from repsr_deploy._version import __version__
from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from repsr_deploy.errors import UsageError
from repsr_deploy.export.calibration import calibrate_on
from repsr_deploy.export.compact import save_compact, to_compact
from repsr_deploy.export.onnx import build_model, export_folded
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
    check: dict[str, Any] | None
    """Of an .onnx file the comparison of ONNX Runtime with PyTorch: shapes, largest relative error, tolerance."""
    calibration: dict[str, Any] | None
    """Where AdaDM's factor was made constant: photographs, and PSNR-Y in dB on them `before` and `after`."""


SUFFIXES = (".onnx", ".safetensors", ".pth")
"""Names of what an export writes."""


def check_outputs(source: Path, out: Path, proof: Path | None) -> None:
    """Refuse outputs of unknown kinds, and those that would overwrite each other or the source.

    Raises:
        UsageError: what it says.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"output is {out}; expected a name that ends in {', '.join(SUFFIXES)}")
    if out.resolve() == source.resolve():
        raise UsageError(f"the output would overwrite {source}; choose another name")
    if proof is not None and proof.resolve() in (source.resolve(), out.resolve()):
        raise UsageError(f"the proof would overwrite {proof}; choose another name")


def export_checkpoint(
    checkpoint: Path,
    model: Path,
    proof: Path | None = None,
    probes: Sequence[Path] = (),
    calibration: Sequence[Path] = (),
    *,
    compact: bool = False,
) -> ExportReport:
    """Fold a checkpoint, prove the fold, write the ONNX model and, where asked for, the proof.

    Args:
        checkpoint: a .safetensors file written by repsr-train, of any family.
        model: the file to write, which gets its name only after every check has passed: .onnx, .safetensors (a folded
            checkpoint), or .pth (a checkpoint of Compact, SRVGGNetCompact, which folded RepSR and ECBSR are).
        compact: write .safetensors in Compact's form as well.
        proof: the .json file to write.
        probes: photographs to use in the proof, beside the built-in images.
        calibration: HR photographs on which AdaDM's factor is made a constant before the fold; none to keep it.

    Raises:
        UsageError: `model` has another suffix, or an output would overwrite the input.
        ImageFileError: a probe cannot be read.
        ModelFileError, FoldError, ProofError, RepsrError: as `load_checkpoint`, `fold` and `export_folded`.
    """
    check_outputs(checkpoint, model, proof)
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
    check = None
    if model.suffix.lower() == ".onnx":
        check = export_folded(result.net, info, model)
    elif compact or model.suffix.lower() == ".pth":
        save_compact(model, to_compact(ir.from_proto(build_model(result.net, info))))
    else:
        described = CheckpointInfo(
            spec=result.net.spec, history=info.history, data_licence=info.data_licence, psnr=info.psnr
        )
        save_checkpoint(model, result.net, described)
    if proof is not None:
        write_text(proof, result.proof.to_json())
    return ExportReport(info, result.proof, check, measured)
