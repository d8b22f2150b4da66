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
from repsr_deploy.export.convert import FORMATS, PLAIN, Conversion, Say, Target, convert
from repsr_deploy.export.onnx import build_model, folded_graph
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
    conversion: Conversion | None
    """Of a model file: what it became, and how it does in the runtimes here; None for a checkpoint."""
    calibration: dict[str, Any] | None
    """Where AdaDM's factor was made constant: photographs, and PSNR-Y in dB on them `before` and `after`."""


CHECKPOINTS = (".safetensors", ".pth")
"""Names of checkpoints; `convert.FORMATS` has those of models."""


def check_outputs(source: Path, out: Path, proof: Path | None, target: Target) -> None:
    """Refuse outputs of unknown kinds, and those that would overwrite each other or the source.

    Raises:
        UsageError: what it says.
    """
    suffix = out.suffix.lower()
    if suffix not in (*FORMATS, *CHECKPOINTS):
        raise UsageError(f"output is {out}; expected a name that ends in {', '.join((*FORMATS, *CHECKPOINTS))}")
    if suffix in FORMATS:
        target.format_of(out)
    elif target.changes_model:
        raise UsageError(
            f"{out} would be a checkpoint, which is float32 and of io float; expected {', '.join(FORMATS)}"
        )
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
    target: Target = PLAIN,
    say: Say = lambda line: None,
) -> ExportReport:
    """Fold a checkpoint, prove the fold, write the model and, where asked for, the proof.

    Args:
        checkpoint: a .safetensors file written by repsr-train, of any family.
        model: the file to write, which gets its name only after every check has passed: one of `convert.FORMATS`,
            .safetensors (a folded checkpoint), or .pth (a checkpoint of Compact, SRVGGNetCompact, which folded RepSR
            and ECBSR are).
        target: precision, io and the like of a model.
        say: told what happens while it takes long.
        compact: write .safetensors in Compact's form as well.
        proof: the .json file to write.
        probes: photographs to use in the proof, beside the built-in images.
        calibration: HR photographs on which AdaDM's factor is made a constant before the fold; none to keep it.

    Raises:
        UsageError: `model` has another suffix, or an output would overwrite the input.
        ImageFileError: a probe cannot be read.
        ModelFileError, FoldError, ProofError, RepsrError: as `load_checkpoint`, `fold`, `folded_graph` and `convert`.
    """
    check_outputs(checkpoint, model, proof, target)
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
    conversion = None
    if model.suffix.lower() in FORMATS:
        conversion = convert(folded_graph(result.net, info), info, model, target, say)
    elif compact or model.suffix.lower() == ".pth":
        save_compact(model, to_compact(ir.from_proto(build_model(result.net, info))))
    else:
        described = CheckpointInfo(
            spec=result.net.spec, history=info.history, data_licence=info.data_licence, psnr=info.psnr
        )
        save_checkpoint(model, result.net, described)
    if proof is not None:
        write_text(proof, result.proof.to_json())
    return ExportReport(info, result.proof, conversion, measured)
