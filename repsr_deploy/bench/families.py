"""Who takes part: the models of a command line in every form, runtime and precision, each with its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from repsr_deploy.bench.contestant import CHANNELS_LAST, PYTORCH, Contestant, Family, Form
from repsr_deploy.bench.sources import TRAIN_EXTRA, Source, has_torch, read_source, reference_of
from repsr_deploy.bench.verify import loosest
from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes import BACKENDS, candidates, open_runtime, unavailable

RUNTIME_NAMES = (*BACKENDS, PYTORCH, CHANNELS_LAST)
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of all that are possible take part."""

    runtimes: tuple[str, ...] = ()
    """Names; none for every one."""
    precisions: tuple[Precision, ...] = ()
    """To be measured, models exported where need be; none for what the files as they are can be computed in."""

    def __post_init__(self) -> None:
        for name in self.runtimes:
            if name not in RUNTIME_NAMES:
                raise UsageError(f"unknown runtime {name!r}; expected some of {', '.join(RUNTIME_NAMES)}")

    def takes(self, contestant: Contestant) -> bool:
        """Whether a contestant was asked for; one of a short file that is computed in a longer type counts as short."""
        precision = loosest(contestant.stored, contestant.computes)
        return (not self.runtimes or contestant.runtime in self.runtimes) and (
            not self.precisions or precision in self.precisions
        )


def precision_named(text: str) -> Precision:
    """The precision of that name.

    Raises:
        UsageError: there is none.
    """
    known: tuple[Precision, ...] = get_args(Precision)
    for precision in known:
        if precision == text:
            return precision
    raise UsageError(f"unknown precision {text!r}; expected some of {', '.join(known)}")


def find_families(
    models: Sequence[str], selection: Selection, scratch: Path, say: Say
) -> tuple[list[Family], list[str]]:
    """Who takes part, and notes on who does not and why.

    Args:
        models: bundled names, .onnx files, checkpoints, engines; one at least.
        scratch: a folder that lives as long as the families.
        say: told what is being done.

    Raises:
        UsageError: a model is no file, has no fp32 model of the same network to be compared with, or nobody is left.
        RepsrError: a model cannot be read.
    """
    sources: list[Source] = []
    for model in dict.fromkeys(models):
        say(f"reading {model}")
        sources.append(read_source(model, scratch))
    notes = [note for source in sources for note in source.notes]
    asked = selection.runtimes or tuple(BACKENDS)
    members: dict[str, list[Contestant]] = {}
    references: dict[str, Source] = {}
    for source in sources:
        reference = reference_of(source, sources)
        references[reference.model] = reference
        everyone = [*_of_file(source), *_of_branches(source, notes), *_of_exports(source, selection, say, notes)]
        notes += _left_out(source, asked)
        members.setdefault(reference.model, []).extend(filter(selection.takes, everyone))
    families = [
        Family(
            info=reference.info,
            reference=reference.file,
            contestants=tuple(members[model]),
            macs_per_lr_pixel=_macs(reference),
        )
        for model, reference in references.items()
        if members[model]
    ]
    if not has_torch():
        notes.append(f"multiply-adds are not counted: that needs PyTorch and onnx-ir; {TRAIN_EXTRA}")
    notes += [f"{name} is not measured: {reason}" for name, reason in unavailable().items() if name in asked]
    if not families:
        raise UsageError(f"nobody is left to measure: expected other runtimes or precisions; {'; '.join(notes)}")
    return families, notes


def _left_out(source: Source, asked: Sequence[str]) -> list[str]:
    """Which runtimes that could be used here cannot compute a model."""
    if not source.is_onnx:
        return []
    here = unavailable()
    reasons = unavailable(source.file).items()
    return [
        f"{source.model} is not measured in {name}: {reason}"
        for name, reason in reasons
        if name in asked and name not in here
    ]


def _of_file(source: Source) -> list[Contestant]:
    """The file in every runtime, and a folded network in PyTorch."""
    found = _in_runtimes(source, source.form, source.file, source.info)
    return found if source.checkpoint is None else [*found, *_in_pytorch(source, "folded", source.checkpoint)]


def _of_branches(source: Source, notes: list[str]) -> list[Contestant]:
    """The network with its branches in every runtime and in PyTorch; none where it has no branches."""
    if source.net is None or source.checkpoint is None or source.net.spec == source.net.spec.folded:
        return []
    import onnx

    from repsr_deploy.bench.branches import branches_model

    in_pytorch = _in_pytorch(source, "branches", source.checkpoint)
    try:
        model = branches_model(source.net, onnx.load(source.file))
    except UsageError as error:
        notes.append(f"{source.model} is measured with its branches in PyTorch only: {error}")
        return in_pytorch
    file = source.folder / "branches.onnx"
    file.write_bytes(model.SerializeToString())
    return [*_in_runtimes(source, "branches", file, source.info), *in_pytorch]


def _of_exports(source: Source, selection: Selection, say: Say, notes: list[str]) -> list[Contestant]:
    """A reference in every other precision that is wanted, in every runtime that can."""
    found: list[Contestant] = []
    for precision in selection.precisions:
        if precision == "fp32" or not source.is_reference:
            continue
        say(f"exporting {source.model} in {precision}")
        file = source.folder / f"{precision}.onnx"
        try:
            info = _export(source, precision, file, say, notes)
        except (RepsrError, ModuleNotFoundError) as error:
            notes.append(f"{source.model} could not be exported in {precision}: {error}")
        else:
            if info.precision == precision:  # or it overflows, and became what is measured without it
                found += _in_runtimes(source, source.form, file, info)
    return found


def _export(source: Source, precision: Precision, out: Path, say: Say, notes: list[str]) -> ModelInfo:
    """Write the model in another precision, or a longer one where that overflows; returns what the file says."""
    from repsr_deploy.export.convert import Target, convert
    from repsr_deploy.folding.graph.read import read_graph

    done = convert(read_graph(source.file), source.info, out, Target(precision=precision), say)
    notes.extend(f"{source.model} in {precision}: {note}" for note in done.notes)
    return done.info


def _in_runtimes(source: Source, form: Form, file: Path, info: ModelInfo) -> list[Contestant]:
    pairs: list[tuple[str, Precision]]
    if source.is_onnx:
        pairs = [(candidate.runtime, candidate.precision) for candidate in candidates(info, file)]
    else:
        runtime = open_runtime(file)
        pairs = [(runtime.name, runtime.precision)]
    return [
        Contestant(model=source.model, form=form, file=file, stored=info.precision, runtime=runtime, computes=computes)
        for runtime, computes in pairs
    ]


def _in_pytorch(source: Source, form: Form, checkpoint: Path) -> list[Contestant]:
    return [
        Contestant(model=source.model, form=form, file=checkpoint, stored="fp32", runtime=runtime, computes="fp32")
        for runtime in (PYTORCH, CHANNELS_LAST)
    ]


def _macs(reference: Source) -> dict[Form, float]:
    """Multiply-adds for each LR pixel, folded and with branches; none where they cannot be counted."""
    if not has_torch():
        return {}
    from repsr_deploy.folding.graph.cost import totals
    from repsr_deploy.folding.graph.read import read_graph
    from repsr_deploy.folding.graph.shapes import reference_shapes
    from repsr_deploy.nets.network import macs_per_lr_pixel

    graph = read_graph(reference.file)
    count = totals(graph, reference_shapes(graph)).macs_per_lr_pixel
    counted: dict[Form, float] = {"folded": count, "as it is": count}
    if reference.net is not None:
        counted["branches"] = float(macs_per_lr_pixel(reference.net))
    return counted
