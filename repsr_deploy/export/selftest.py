"""What every exported file must pass: in each runtime that is present, the output of the reference in float64."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from repsr_deploy.errors import ProofError, RepsrError, RuntimeUnavailableError
from repsr_deploy.export.selftest_cases import Case, Cases, Shape
from repsr_deploy.model_info import LONGEST_FIRST, ModelInfo, Precision
from repsr_deploy.runtimes import BACKENDS, Candidate, Runtime, candidates, open_runtime, unavailable
from repsr_deploy.tolerances import RUNTIME_CLOSENESS, Closeness

HALF_LEVEL = 0.5 / 255
"""What rounding to 8 bits may change."""


@dataclass(frozen=True, kw_only=True)
class RuntimeCheck:
    """A model file in one runtime."""

    runtime: str
    precision: Precision
    """In which the runtime computes; the file's where it was not run."""
    shapes: tuple[Shape, ...] = ()
    """N x H x W of the images that it was given; none where it was not run."""
    error: float | None = None
    """Largest difference from the reference, as a fraction of the range; of 8-bit output, beyond half a level."""
    psnr: float | None = None
    """Of the worst of the images, dB with peak 1."""
    untested: tuple[str, ...] = ()
    """What none of the images made the network do: `clamp above 1`, `PRelu act.out below 0`."""
    reason: str = ""
    """Why it was not run; empty where it was."""

    @property
    def line(self) -> str:
        """What to show."""
        if self.error is None or self.psnr is None:
            return f"self-test in {self.runtime}: not run: {self.reason}"
        left = f"; not tested, as no image does it: {', '.join(self.untested)}" if self.untested else ""
        return (
            f"self-test in {self.runtime}, {self.precision}: {self.psnr:.1f} dB from PyTorch, largest difference "
            f"{self.error:.1e} of the range, at {len(self.shapes)} sizes{left}"
        )


def self_test(file: Path, reference: ir.Model, info: ModelInfo) -> list[RuntimeCheck]:
    """Run a model file in every runtime and compare with the reference, evaluated by PyTorch in float64.

    Args:
        file: an .onnx file of any precision, io and shape.
        reference: what it was made of: float32, io `float`. An int8 file is compared with its own Q/DQ graph instead.
        info: what the file says about itself.

    Returns:
        A row for every runtime and precision; those of runtimes that cannot run it here say why.

    Raises:
        ProofError: a runtime fails, or gives something else; names the runtime, the images' shape and the error.
        ModelFileError: the file is no model.
        FoldError: the reference cannot be evaluated.
    """
    cases = Cases(file, reference, info)
    checks = [_check(file, candidate, cases, info) for candidate in candidates(info, file)]
    missing, tried = unavailable(file), {check.runtime for check in checks}
    unable = f"computes no {info.precision} model on this machine"
    rest = [name for name in BACKENDS if name not in tried]
    return checks + [
        RuntimeCheck(runtime=name, precision=info.precision, reason=missing.get(name, unable)) for name in rest
    ]


def _check(file: Path, candidate: Candidate, cases: Cases, info: ModelInfo) -> RuntimeCheck:
    label = f"{candidate.runtime} in {candidate.precision}"
    try:
        runtime = open_runtime(file, candidate.runtime, precision=candidate.precision)
    except RuntimeUnavailableError as error:
        return RuntimeCheck(runtime=candidate.runtime, precision=candidate.precision, reason=str(error))
    except RepsrError as error:
        raise ProofError(f"{label} cannot open the exported file: {error}") from error
    shorter = LONGEST_FIRST[max(map(LONGEST_FIRST.index, (info.precision, candidate.precision)))]
    tried = {case.shape: _passed(runtime, case, cases, shorter, label) for case in cases.within(runtime.limits)}
    return RuntimeCheck(
        runtime=candidate.runtime,
        precision=candidate.precision,
        shapes=tuple(tried),
        error=max(found.error for found in tried.values()),
        psnr=min(found.psnr_db for found in tried.values()),
        untested=cases.untested,
    )


def _passed(runtime: Runtime, case: Case, cases: Cases, precision: Precision, label: str) -> Closeness:
    """How near a runtime comes to the reference, where that is near enough."""
    is_image = runtime.info.io == "image"
    shape = "x".join(map(str, case.shape))
    try:
        output = runtime.run_images(case.images_nhwc) if is_image else runtime.run(case.batch_nchw)
        found = case.closeness(cases.picture(output, case), rounding=HALF_LEVEL if is_image else 0.0)
    except (RepsrError, MemoryError) as error:
        raise ProofError(f"{label} fails on images of N x H x W {shape}: {error}") from error
    allowed = RUNTIME_CLOSENESS[precision]
    if not _within(found, allowed):
        allowed = cases.allowed(case, precision)
    if not _within(found, allowed):
        raise ProofError(
            f"{label} and the reference differ on images of N x H x W {shape} by up to {found.error:.3g} of the range "
            f"(allowed {allowed.error:.3g}), {found.psnr_db:.1f} dB (at least {allowed.psnr_db:.1f}); there the file "
            "does not compute what the network does"
        )
    return found


def _within(found: Closeness, allowed: Closeness) -> bool:
    """False where anything is NaN."""
    return found.error <= allowed.error and found.psnr_db >= allowed.psnr_db
