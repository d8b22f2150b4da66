"""Bundle a trained checkpoint as a named model: score it on test sets, fold and export it, write its model card.

    python scripts/bundle.py photo-x2 runs/x2/checkpoint.safetensors ../shared/data/test/{set5,set14,bsd100}

Run after training is over: the scores are written down, never used to choose between checkpoints.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from repsr_deploy.export.checkpoint import ExportReport, export_checkpoint
from repsr_deploy.files import write_text
from repsr_deploy.imaging.image_file import FORMATS
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import EvaluationReport, evaluate
from repsr_train.recipes import recipe

WEIGHTS = Path(__file__).parents[1] / "repsr_deploy" / "weights"

CARD = """# {name}

{network} x{scale} (RGB), {parameters:,} parameters, folded from a RepSR network of {trained_parameters:,}.
It enlarges clean photographs {scale} times. It was trained on bicubic reduction alone, so it removes neither noise nor
compression artifacts.

| file | what it is |
|---|---|
| `{name}.onnx` | the folded network, plain 3x3 convolutions, what `repsr-upscale -m {name}` runs |
| `{name}.safetensors` | the same network as trained, with its branches; `repsr-fuse export` folds it again |

## Scores

PSNR and SSIM on Y, output rounded to uint8, border of {scale} pixels cropped, LR by MATLAB-style bicubic reduction
(`repsr-eval {name} --hr FOLDER`). The test sets were looked at after training alone.

| set | PSNR-Y | SSIM-Y | PSNR-RGB | bicubic PSNR-Y |
|---|---|---|---|---|
{scores}

## Training

- Data: {photographs} photographs (fingerprint `{data_fingerprint}`), none of them from a test set. Licences: {licence}.
- Validation during training: Kodak, 24 photographs, PSNR-Y {validation_psnr_y:.3f} dB at the end.
- Recipe `{recipe_hash}`, {step:,} steps, {seconds:,} s on two shared CPU cores{start}:

```
repsr-train repsr-m4c16-x{scale} --data DATA/train --val DATA/val --out RUN{init} \\
    {settings}
python scripts/bundle.py {name} RUN/checkpoint.safetensors DATA/test/...
```

- Fold: proven in float64, largest error {fold_error:.1e} of the output's range; `repsr-fuse export --proof` tells all.
- Licence of the weights: Apache-2.0, as the code.
"""


def bundle(name: str, checkpoint: Path, test_sets: list[Path]) -> None:
    """Write NAME.safetensors, NAME.onnx and NAME.md into the package."""
    net, trained = load_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / f"{name}.onnx"
        export_checkpoint(checkpoint, model)
        upscaler = Upscaler(model, runtime="onnxruntime")
        reports = {test_set.name: _evaluate(upscaler, test_set) for test_set in test_sets}
    psnr = {test_set: round(report.model.psnr_y or 0, 2) for test_set, report in reports.items()}
    info = replace(trained, psnr=psnr)
    save_checkpoint(WEIGHTS / f"{name}.safetensors", net, info)
    exported = export_checkpoint(WEIGHTS / f"{name}.safetensors", WEIGHTS / f"{name}.onnx")
    write_text(WEIGHTS / f"{name}.md", _card(name, info, exported, reports))
    print(f"{name}: {psnr}")  # noqa: T201


def _evaluate(upscaler: Upscaler, folder: Path) -> EvaluationReport:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in FORMATS)
    return evaluate(upscaler.upscale, upscaler.info.scale, paths)


def _card(name: str, info: CheckpointInfo, exported: ExportReport, reports: dict[str, EvaluationReport]) -> str:
    training = [entry for entry in info.history if entry["stage"] == "train"][-1]
    start = training["init_from"]
    settings = _settings(training["recipe"], json.loads(recipe(f"repsr-m4c16-x{info.spec.scale}").to_json()))
    rows: list[str] = []
    for test_set, report in reports.items():
        score, bicubic = asdict(report.model), report.bicubic
        assert bicubic is not None
        rows.append(
            f"| {test_set} | {score['psnr_y']:.2f} | {score['ssim_y']:.4f} | {score['psnr_rgb']:.2f} | "
            f"{bicubic.psnr_y:.2f} |"
        )
    return CARD.format(
        name=name,
        network=exported.info.name,
        scale=info.spec.scale,
        parameters=exported.proof.after.parameters,
        trained_parameters=exported.proof.before.parameters,
        scores="\n".join(rows),
        licence=info.data_licence,
        settings=settings,
        start=f", started from the weights of `{start}`" if start else "",
        init=f" --init-from {start}" if start else "",
        fold_error=exported.proof.whole.relative_error,
        **{
            key: training[key]
            for key in ("photographs", "data_fingerprint", "validation_psnr_y", "recipe_hash", "step")
        },
        seconds=training["seconds"],
    )


def _settings(used: dict[str, Any], usual: dict[str, Any]) -> str:
    """The options that turn a recipe's own values into those that were used."""
    changed = {key: value for key, value in used.items() if key != "network" and usual[key] != value}
    texts = {key: ",".join(map(str, value)) if isinstance(value, list) else value for key, value in changed.items()}
    return " ".join(f"--set {key}={text}" for key, text in texts.items())


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    bundle(sys.argv[1], Path(sys.argv[2]), [Path(item) for item in sys.argv[3:]])
