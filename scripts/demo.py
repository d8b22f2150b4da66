"""The two parts of `scripts/demo` that no command does: lay out the photographs, and compare at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from rich.console import Console
from rich.table import Table

from repsr_deploy.bench.families import Selection
from repsr_deploy.bench.throughput import Settings, measure_throughput
from repsr_deploy.files import write_text
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.evaluate import evaluate, reduce
from repsr_deploy.metrics.resize import imresize

PHOTOGRAPHS = {
    "train": ("astronaut", "rocket", "brick", "grass", "gravel", "camera", "immunohistochemistry", "retina"),
    "val": ("coffee",),
    "test": ("chelsea",),
}
CROP = (slice(96, 196), slice(130, 280))  # rows and columns of chelsea's HR picture that the comparison shows
ZOOM = 4
CPU_THREADS = 1
RUNTIMES = {"onnxruntime": "ONNX Runtime", "pytorch": "PyTorch"}


def photographs(out: Path) -> None:
    """Write scikit-image's photographs as PNG files."""
    for part, names in PHOTOGRAPHS.items():
        for name in names:
            write_image(out / part / f"{name}.png", getattr(skimage.data, name)())
    print(", ".join(f"{part}: {' '.join(names)}" for part, names in PHOTOGRAPHS.items()))  # noqa: T201


def report(out: Path) -> None:
    """Score, time and show what the demo made; writes comparison.png and numbers.json."""
    photograph = out / "test" / "chelsea.png"
    trained, bundled = (Upscaler(model, runtime="onnxruntime") for model in (out / "model.onnx", "photo-x2"))
    scores = {
        "trained just now": evaluate(trained.upscale, 2, [photograph]),
        "bundled photo-x2": evaluate(bundled.upscale, 2, [photograph]),
    }
    quality = {name: score.model for name, score in scores.items()}
    quality = {"bicubic": scores["bundled photo-x2"].bicubic, **quality}
    write_comparison(out / "comparison.png", photograph, trained, bundled)
    settings = Settings(
        selection=Selection(runtimes=tuple(RUNTIMES), precisions=("fp32",)),
        shapes=((180, 320),),
        threads=CPU_THREADS,
        seconds=8,
    )
    checkpoint = str(out / "run" / "checkpoint.safetensors")
    speed = measure_throughput([checkpoint], settings, arguments="scripts/demo", progress=lambda text, part: None)
    rows = {(row.key["runtime"], row.key["network"]): row for row in speed.rows}
    proof = json.loads((out / "proof.json").read_text())
    numbers: dict[str, Any] = {
        "quality": {name: asdict(value) for name, value in quality.items() if value is not None},
        "speed": json.loads(speed.to_json()),
        "proof": proof["summary"],
    }
    write_text(out / "numbers.json", json.dumps(numbers, indent=2) + "\n")

    console = Console(highlight=False, soft_wrap=True)
    table = Table("chelsea x2", "PSNR-Y dB", "SSIM-Y")
    for name, value in quality.items():
        assert value is not None
        table.add_row(name, f"{value.psnr_y:.2f}", f"{value.ssim_y:.4f}")
    console.print(table)
    table = Table("320x180 input, 1 thread", "branches ms", "folded ms", "times faster")
    for runtime, name in RUNTIMES.items():
        before, after = (rows[runtime, form] for form in ("branches", "folded"))
        ratio = after.figures["faster_than_branches"]
        assert before.timing is not None
        assert after.timing is not None
        table.add_row(name, f"{before.timing.median_s * 1e3:.1f}", f"{after.timing.median_s * 1e3:.1f}", f"{ratio:.1f}")
    console.print(table)
    console.print(
        f"proof: largest error {proof['summary']['relative_error_float64']:.1e} of the output's range in float64"
    )
    for name in ("comparison.png", "chelsea-x2.png", "model.onnx", "proof.json", "numbers.json"):
        console.print(f"{out / name}", markup=False)


def write_comparison(path: Path, photograph: Path, trained: Upscaler, bundled: Upscaler) -> None:
    """A crop four times, magnified: bicubic, trained just now, bundled model, and the photograph itself."""
    reference_hwc = read_image(photograph)
    reference_hwc = reference_hwc[: reference_hwc.shape[0] // 2 * 2, : reference_hwc.shape[1] // 2 * 2]
    low_hwc = reduce(reference_hwc, 2)
    pictures = {
        "bicubic": imresize(low_hwc, 2.0),
        "trained just now": trained.upscale(low_hwc),
        "photo-x2": bundled.upscale(low_hwc),
        "photograph": reference_hwc,
    }
    panels = [_panel(name, picture[CROP]) for name, picture in pictures.items()]
    write_image(path, np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])]))


def _panel(name: str, crop_hwc: Any) -> Any:
    large = cv2.resize(crop_hwc, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    cv2.rectangle(large, (0, 0), (16 * len(name), 34), (0, 0, 0), cv2.FILLED)
    cv2.putText(large, name, (8, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(large, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


if __name__ == "__main__":
    {"photographs": photographs, "report": report}[sys.argv[1]](Path(sys.argv[2]))
