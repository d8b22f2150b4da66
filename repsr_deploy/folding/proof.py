"""The proof of a fold: both networks run on the same images, by layer and whole, borders apart from the interior."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from repsr_deploy.errors import ProofError
from repsr_deploy.nets.network import Network, linear_layers, macs_per_lr_pixel, num_nodes, num_parameters
from repsr_deploy.nets.ops import Eager, LinearLayer
from repsr_deploy.tolerances import TOLERANCES

LARGEST_OUTPUT = 1e3
"""Of a network whose images are 0..1; beyond, float32 and float64 need not agree."""
GLOBAL_HALO = 16
"""Border, LR pixels, that is judged apart where the network sees the whole image and has no halo."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two outputs differ. Errors are absolute; `range` is max - min of the reference output, in the same unit."""

    max_error_interior: float
    max_error_border: float
    mean_error: float
    range: float
    tolerance: float
    """Largest error allowed, as a fraction of `range`."""

    @property
    def relative_error(self) -> float:
        """Largest error as a fraction of the range: the smallest tolerance that would pass. NaN counts as infinite."""
        worst = max(_infinite_if_nan(self.max_error_interior), _infinite_if_nan(self.max_error_border))
        return worst / self.range if self.range > 0 else (0.0 if worst == 0 else math.inf)

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance, everywhere."""
        return self.relative_error <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class SiteProof:
    """One folded layer: its branches against its single convolution, on the features that really reach it."""

    site: str
    rule: str
    outcome: str
    comparison: Comparison


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Size of a network; MACs of convolutions for one LR pixel."""

    parameters: int
    macs_per_lr_pixel: int
    nodes: int


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a fold changed: nothing in the output (errors), much in the cost."""

    network: str
    sites: tuple[SiteProof, ...]
    whole: Comparison
    """The whole network in float64: the algebra is right."""
    stored: Comparison
    """The folded network as it is stored and run, against the float64 reference: the rounding is harmless."""
    before: Cost
    after: Cost
    probes: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """What the folded network still computes though it looks foldable, with the reason."""

    @property
    def passed(self) -> bool:
        """Every comparison within its tolerance."""
        return all(item.passed for item in (self.whole, self.stored, *(site.comparison for site in self.sites)))

    def summary(self) -> dict[str, float | int | bool]:
        """The few numbers that travel inside a model's metadata."""
        return {
            "passed": self.passed,
            "relative_error_float64": self.whole.relative_error,
            "relative_error_stored": self.stored.relative_error,
            "sites": len(self.sites),
            "parameters_before": self.before.parameters,
            "parameters_after": self.after.parameters,
            "macs_per_lr_pixel_before": self.before.macs_per_lr_pixel,
            "macs_per_lr_pixel_after": self.after.macs_per_lr_pixel,
        }

    def to_json(self) -> str:
        """The whole report."""
        return json.dumps({"summary": self.summary(), **asdict(self)}, indent=2) + "\n"


def compare(pairs: Sequence[tuple[Tensor, Tensor]], *, border: int, tolerance: float) -> Comparison:
    """Compare outputs with their references, one pair (reference, candidate) of N x C x H x W for each probe image.

    Args:
        pairs: of one shape within a pair; the range is that of all references together, so that a flat image, whose own
            output has next to none, does not count rounding as an error.
        border: width in pixels of the frame that is judged by itself.
        tolerance: largest error allowed, as a fraction of the range.

    Raises:
        ValueError: the shapes within a pair differ, or nothing is left inside the border.
    """
    interior: list[Tensor] = []
    frame: list[Tensor] = []
    for reference, candidate in pairs:
        if reference.shape != candidate.shape:
            raise ValueError(f"shapes differ: {tuple(reference.shape)} and {tuple(candidate.shape)}")
        height, width = reference.shape[-2:]
        if 2 * border >= min(height, width):
            raise ValueError(f"a border of {border} leaves no interior in {height}x{width}")
        error = (candidate.double() - reference.double()).abs()
        inside = torch.zeros(height, width, dtype=torch.bool)
        inside[border : height - border, border : width - border] = True
        interior.append(error[..., inside].flatten())
        frame.append(error[..., ~inside].flatten())
    errors = torch.cat(interior), torch.cat(frame)
    values = torch.cat([reference.double().flatten() for reference, _ in pairs])
    return Comparison(
        max_error_interior=errors[0].max().item(),
        max_error_border=errors[1].max().item() if border else 0.0,
        mean_error=torch.cat(errors).mean().item(),
        range=(values.max() - values.min()).item(),
        tolerance=tolerance,
    )


def overflows(output: Tensor) -> bool:
    """Whether a network gave NaN, infinity, or values far from those of images.

    AdaDM may: with population statistics, a block answers features k times the usual ones with k^2 times its usual
    output, so images unlike those of training grow from block to block.
    """
    return not bool((output.abs() < LARGEST_OUTPUT).all())


def probe_images(halo: int, colours: int) -> dict[str, Tensor]:
    """Images that show a wrong fold, name -> 1 x C x H x W float64 in 0..1, with an interior that no border reaches.

    `natural` has the 1/f amplitude spectrum of photographs (Field 1987), `gray` their equal colours, too; `ones` is
    bright up to the edge, where zero padding matters most.
    """
    height, width = 2 * halo + 17, 2 * halo + 22
    generator = torch.Generator().manual_seed(20220511)
    noise = torch.rand(1, colours, height, width, generator=generator, dtype=torch.float64)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :]).clamp(min=1 / width)
    natural = torch.fft.ifft2(torch.fft.fft2(noise - 0.5) / frequency).real
    low, high = natural.amin(), natural.amax()
    natural = (natural - low) / (high - low)
    return {
        "noise": noise,
        "natural": natural,
        "gray": natural.mean(dim=1, keepdim=True).expand_as(natural),
        "ones": torch.ones(1, colours, height, width, dtype=torch.float64),
    }


@torch.no_grad()
def prove(before: Network, exact: Network, stored: Network, photographs: Mapping[str, Tensor]) -> Proof:
    """Compare a network with its folded form, in float64 (`exact`) and as stored (`stored`). No argument is modified.

    Raises:
        ProofError: a comparison is outside its tolerance; the message names the first layer that differs.
    """
    reference = copy.deepcopy(before).double().eval()
    scale = before.spec.scale
    halo = GLOBAL_HALO if before.spec.halo is None else before.spec.halo
    images = {**probe_images(halo, before.spec.colours), **photographs}
    stored_dtype = next(stored.parameters()).dtype
    whole: list[tuple[Tensor, Tensor]] = []
    rounded: list[tuple[Tensor, Tensor]] = []
    sites: dict[str, list[tuple[Tensor, Tensor]]] = {}
    probes: list[str] = []
    for probe, image in images.items():
        x_nchw = image.double()
        expected = reference(x_nchw)
        size = f"{probe} {image.shape[-1]}x{image.shape[-2]}"
        if overflows(expected):
            probes.append(f"{size} (not compared: the network itself overflows)")
            continue
        probes.append(size)
        whole.append((expected, exact(x_nchw)))
        rounded.append((expected, stored(x_nchw.to(stored_dtype))))
        for name, pair in _run_sites(reference, exact, x_nchw).items():
            sites.setdefault(name, []).append(pair)
    if not whole:
        raise ProofError(f"{before.spec.name} itself overflows on every probe image; train it, or add photographs")
    rules = {name: describe(layer) for name, layer in linear_layers(before).items()}
    proof = Proof(
        network=before.spec.name,
        sites=tuple(
            SiteProof(
                site=name,
                rule=rules[name],
                outcome="exact",
                comparison=compare(pairs, border=1, tolerance=TOLERANCES["fold"]),
            )
            for name, pairs in sites.items()
        ),
        whole=compare(whole, border=halo * scale, tolerance=TOLERANCES["fold"]),
        stored=compare(rounded, border=halo * scale, tolerance=TOLERANCES["store"]),
        before=_cost(before),
        after=_cost(exact),
        probes=tuple(probes),
        kept=before.spec.kept,
    )
    if not proof.passed:
        raise ProofError(_failure(proof))
    return proof


def describe(layer: LinearLayer) -> str:
    """The branches of a layer in kernel sizes, each in the order of application: `1x1 + 3x3*1x1*1x1 -> 3x3`."""
    branches = layer.branches()
    largest = max((operator for branch in branches for operator in branch), key=lambda operator: operator.kernel)
    return " + ".join("*".join(map(str, branch)) for branch in branches) + f" -> {largest}"


class _Compared(Eager):
    """Runs a network as it is, and beside every layer the folded one on the same features."""

    def __init__(self, exact: Network) -> None:
        self.exact = exact
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}

    def linear(self, name: str, layer: LinearLayer, x: Tensor) -> Tensor:
        expected = layer(x)
        self.pairs[name] = (expected, self.exact.get_submodule(name)(x))
        return expected


def _run_sites(reference: Network, exact: Network, x_nchw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Every layer before and after, on the features that really reach it."""
    compared = _Compared(exact)
    reference.graph(compared, x_nchw)
    return compared.pairs


def _infinite_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _cost(net: Network) -> Cost:
    return Cost(parameters=num_parameters(net), macs_per_lr_pixel=macs_per_lr_pixel(net), nodes=num_nodes(net))


def _failure(proof: Proof) -> str:
    failed = [site for site in proof.sites if not site.comparison.passed]
    where = f"first at {failed[0].site} ({failed[0].rule})" if failed else "though every layer agrees by itself"
    worst = max(
        (proof.whole, proof.stored, *(site.comparison for site in failed)),
        key=lambda item: item.relative_error / item.tolerance,
    )
    return (
        f"{proof.network}: the folded network differs, {where}: largest error interior {worst.max_error_interior:.3g}, "
        f"border {worst.max_error_border:.3g}, output range {worst.range:.3g}; smallest tolerance that would pass "
        f"{worst.relative_error:.3g}, allowed {worst.tolerance:.3g}"
    )
