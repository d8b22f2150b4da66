"""Whether two model files compute the same: ours or foreign, trained or folded, each as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor

from repsr_deploy.checkpoint import is_checkpoint, is_foreign, load_checkpoint
from repsr_deploy.errors import ModelFileError, ProofError, UsageError
from repsr_deploy.export.zoo import load_foreign
from repsr_deploy.folding.graph.compare import error_histogram, histogram_line
from repsr_deploy.folding.graph.compare_probes import (
    Sides,
    at_smallest_multiple,
    border_of,
    image_inputs,
    probes_for,
)
from repsr_deploy.folding.graph.evaluate import evaluate
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.folding.proof import Comparison, compare
from repsr_deploy.metrics.quality import decibels
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes.graph import derive_reach
from repsr_deploy.tolerances import TOLERANCES

Range = tuple[float, float]
SMALLEST_SIDE = 48
"""Side of the first image that a foreign model is tried on, pixels."""


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """A network that makes one picture from one."""

    name: str
    run: Callable[[Tensor], Tensor]
    """N x C x H x W float64 in 0..1 -> N x C' x sH x sW float64."""
    channels: int
    scale: Fraction
    """Output pixels per input pixel along a side."""
    halo: int | None
    """Receptive-field radius, LR pixels; None where unknown, or the whole image."""
    multiple: int = 1
    """What the sides must be multiples of."""
    sides: Sides | None = None
    """H x W of the only images that it takes."""
    clamp: Range | None = None
    """Range that the output is clamped to."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How two models differ on the same images, both in float64."""

    a: str
    b: str
    comparison: Comparison
    psnr_db: float
    """Of one against the other, peak 1; infinite when they are identical."""
    histogram: dict[str, int]
    """Values by the decade of their error, a fraction of the range."""
    probes: tuple[str, ...]
    clamp: Range | None
    """Range that both outputs were clamped to, as at least one of the models does."""

    @property
    def equal(self) -> bool:
        """Whether they agree within the tolerance, everywhere."""
        return self.comparison.passed

    def lines(self) -> dict[str, str]:
        """What to show, label -> text."""
        whole = self.comparison
        return {
            "verdict": "equal" if self.equal else "different",
            "largest error, interior": f"{whole.max_error_interior:.3g}",
            "largest error, border": f"{whole.max_error_border:.3g}",
            "output range": f"{whole.range:.3g}",
            "smallest tolerance that would pass": f"{whole.relative_error:.3g}, allowed {whole.tolerance:.3g}",
            "PSNR of one against the other": f"{self.psnr_db:.2f} dB",
            "errors as fractions of the range": histogram_line(self.histogram),
            "images": ", ".join(self.probes),
        }

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps({"equal": self.equal, **asdict(self)}, indent=2) + "\n"


def verify_files(
    a: Path, b: Path, *, tolerance: float = TOLERANCES["store"], photographs: Mapping[str, Tensor] | None = None
) -> Verdict:
    """Compare two files, each an .onnx model or a checkpoint, ours or of another project, evaluated in float64.

    A checkpoint runs in the form that it is stored in, trained or folded. The default tolerance allows for weights that
    were rounded to float32 when they were folded.

    Raises:
        ModelFileError: a file is neither, or damaged.
        UsageError: they take or make pictures of different kinds.
        FoldError: a node of a model cannot be evaluated.
        ProofError: both give NaN or infinity on every image.
    """
    return compare_models(open_model(a), open_model(b), tolerance=tolerance, photographs=photographs or {})


def open_model(path: Path) -> ImageModel:
    """A file as something that can run in float64.

    Raises:
        ModelFileError: neither a model nor a checkpoint, or damaged.
        FoldError: a node of a model cannot be evaluated.
    """
    if is_foreign(path):
        return _open_foreign(path)
    return _open_checkpoint(path) if is_checkpoint(path) else _open_graph(path)


def compare_models(a: ImageModel, b: ImageModel, *, tolerance: float, photographs: Mapping[str, Tensor]) -> Verdict:
    """Run two models on the same probe images and photographs, 1 x C x H x W in 0..1.

    An output that only one of them clamps is clamped for the other, too: networks of ours are clamped on export.

    Raises:
        UsageError: different channels, scales or sizes.
        ProofError: both give NaN or infinity on every image.
    """
    for what, of_a, of_b in (("channels", a.channels, b.channels), ("a scale", a.scale, b.scale)):
        if of_a != of_b:
            raise UsageError(f"{a.name} has {what} of {of_a}, {b.name} of {of_b}; only like models can be compared")
    sides = a.sides or b.sides
    if a.sides and b.sides and a.sides != b.sides:
        raise UsageError(f"{a.name} takes only {a.sides} pixels, {b.name} only {b.sides}; export them for one size")
    halos = [model.halo for model in (a, b)]
    border = border_of(None if None in halos else max(halo or 0 for halo in halos), border_allowed=False)
    multiple = 1 if sides else math.lcm(a.multiple, b.multiple)
    images = {
        **probes_for(channels=a.channels, border=border, multiple=multiple, sides=sides),
        **{name: _cropped(image, multiple, sides) for name, image in photographs.items()},
    }
    clamp = a.clamp or b.clamp
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for name, image in images.items():
        outputs = [model.run(image.double()) for model in (a, b)]
        outputs = outputs if clamp is None else [output.clamp(*clamp) for output in outputs]
        if outputs[0].shape != outputs[1].shape:
            shapes = " and ".join(str(tuple(output.shape)) for output in outputs)
            raise UsageError(f"{a.name} and {b.name} make pictures of {shapes} from {tuple(image.shape)}")
        if any(output.isfinite().all() for output in outputs):
            pairs[name] = (outputs[0], outputs[1])
    if not pairs:
        raise ProofError(f"{a.name} and {b.name} both give NaN or infinity on every image; nothing can be compared")
    edge = min(math.ceil(border * a.scale), *((min(y.shape[-2:]) - 1) // 2 for y, _ in pairs.values()))
    comparison = compare(list(pairs.values()), border=edge, tolerance=tolerance)
    return Verdict(
        a=a.name,
        b=b.name,
        comparison=comparison,
        psnr_db=_psnr_db(list(pairs.values())),
        histogram=error_histogram(list(pairs.values()), comparison.range),
        probes=tuple(pairs),
        clamp=clamp,
    )


def _open_checkpoint(path: Path) -> ImageModel:
    net, info = load_checkpoint(path)
    net = net.double().eval()
    spec = info.spec
    return ImageModel(
        name=f"{path.name} ({spec.name})",
        run=torch.no_grad()(net),
        channels=spec.colours,
        scale=Fraction(spec.scale),
        halo=spec.halo,
    )


def _open_foreign(path: Path) -> ImageModel:
    net = load_foreign(path)
    return ImageModel(
        name=f"{path.name} ({net.architecture})",
        run=torch.no_grad()(net.module.double()),
        channels=net.in_channels,
        scale=Fraction(net.scale),
        halo=None,
        multiple=net.multiple_of,
    )


def _open_graph(path: Path) -> ImageModel:
    model = read_graph(path)
    channels, fixed = image_inputs(model)
    if len(channels) != 1 or len(model.graph.outputs) != 1:
        raise UsageError(
            f"{path} has {len(channels)} inputs and {len(model.graph.outputs)} outputs; expected one picture in and "
            "one out"
        )
    ((name, count),) = channels.items()
    output = str(model.graph.outputs[0].name)
    info = ModelInfo.from_props(model.metadata_props)
    low, high = (0.0, 1.0) if info is None else info.range

    def run(x_nchw: Tensor) -> Tensor:
        return (evaluate(model, {name: low + (high - low) * x_nchw})[output] - low) / (high - low)

    multiple, scale = _geometry(path, run, count, fixed)
    return ImageModel(
        name=path.name,
        run=run,
        channels=count,
        scale=scale,
        halo=_halo(path, info),
        multiple=multiple,
        sides=fixed,
        clamp=_clamp(model, low, high),
    )


def _geometry(path: Path, run: Callable[[Tensor], Tensor], channels: int, fixed: Sides | None) -> tuple[int, Fraction]:
    """What sides must be multiples of, and output pixels per input pixel, found by running a small image.

    The scale is that of the difference between the sides, for a network without padding crops its output.
    """

    def attempt(multiple: int) -> tuple[int, Fraction]:
        odd = 2 * (SMALLEST_SIDE // (2 * multiple)) + 1
        height, width = fixed or (odd * multiple, (odd + 2) * multiple)
        output = run(torch.zeros(1, channels, height, width, dtype=torch.float64))
        if output.ndim != 4:
            raise UsageError(f"{path} makes a tensor of shape {tuple(output.shape)}; expected a picture N x C x H x W")
        if height == width:
            return multiple, Fraction(output.shape[-1], width)
        return multiple, Fraction(output.shape[-1] - output.shape[-2], width - height)

    return attempt(1) if fixed else at_smallest_multiple(attempt)


def _halo(path: Path, info: ModelInfo | None) -> int | None:
    if info is not None:
        return info.halo
    try:
        return derive_reach(path, path.name).halo
    except ModelFileError:  # it looks at the whole image, or nobody can tell how far
        return None


def _clamp(model: ir.Model, low: float, high: float) -> Range | None:
    """Range of the Clip that makes the output, in units of 0..1 for low..high."""
    last = model.graph.outputs[0].producer()
    if last is None or last.op_type != "Clip" or len(last.inputs) < 3:
        return None
    bounds = [value.const_value for value in last.inputs[1:] if value is not None]
    numbers = [float(bound.numpy()) for bound in bounds if bound is not None]
    return None if len(numbers) < 2 else ((numbers[0] - low) / (high - low), (numbers[1] - low) / (high - low))


def _cropped(image: Tensor, multiple: int, sides: Sides | None) -> Tensor:
    height, width = sides or (side // multiple * multiple for side in image.shape[-2:])
    if min(height, width) == 0 or height > image.shape[-2] or width > image.shape[-1]:
        raise UsageError(f"a photograph is {image.shape[-1]}x{image.shape[-2]}; the models need larger ones")
    return image[..., :height, :width]


def _psnr_db(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    error = torch.cat([(y - x).flatten() for x, y in pairs])
    return decibels(error.square().mean().item())
