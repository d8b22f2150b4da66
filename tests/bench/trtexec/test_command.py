"""The flags for each version, and what is said about them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec import Program, TrtexecOptions
from repsr_deploy.bench.trtexec.command import SWITCHES, build_command
from repsr_deploy.bench.trtexec.program import read_help
from repsr_deploy.bench.trtexec.shapes import Profile
from repsr_deploy.errors import UsageError
from tests.bench.trtexec.stand_in import ELEVEN, KINDS, RTX, TEN, Kind

PROFILE = Profile((1, 3, 64, 64), (1, 3, 360, 640), (1, 3, 1080, 1920), (1, 3, 720, 1280))


def program_of(kind: Kind) -> Program:
    return read_help(Path("/opt") / kind.program, kind.read("help.txt"))


def flags_of(kind: Kind, options: TrtexecOptions, profile: Profile | None = PROFILE) -> tuple[str, ...]:
    return build_command(program_of(kind), Path("/m.onnx"), options, "input", profile).arguments[1:]


def states_of(kind: Kind, flags: tuple[str, ...]) -> dict[str, str]:
    """What the version makes of its flags."""
    return kind.defaults | dict(kind.meaning[flag] for flag in flags if flag in kind.meaning)


@pytest.mark.parametrize("kind", [TEN, ELEVEN], ids=lambda kind: kind.folder)
@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)))
def test_both_versions_do_the_same(kind: Kind, wanted: tuple[bool, bool, bool]) -> None:
    graph, transfers, spin = wanted
    flags = flags_of(kind, TrtexecOptions(use_cuda_graph=graph, data_transfers=transfers, spin_wait=spin))
    states = {name: state == "Enabled" for name, state in states_of(kind, flags).items()}
    assert states == {"CUDA Graph": graph, "Data transfers": transfers, "Spin-wait": spin}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_only_flags_with_an_effect_are_passed(kind: Kind) -> None:
    program = program_of(kind)
    on = TrtexecOptions(tf32=False, streams=2, engine=Path("e"))
    off = TrtexecOptions(use_cuda_graph=False, data_transfers=False, spin_wait=False, layers=False)
    for options in (on, off):
        flags = flags_of(kind, options)
        assert all(map(program.takes, flags))
        assert len({flag.partition("=")[0] for flag in flags}) == len(flags)
        assert not {"--fp16", "--bf16", "--int8", "--best"} & set(flags)


def test_tensorrt_10_reads_types_from_the_model_as_11_does() -> None:
    assert "--stronglyTyped" in flags_of(TEN, TrtexecOptions())
    assert "--stronglyTyped" not in flags_of(ELEVEN, TrtexecOptions())
    for kind, made in ((TEN, "of the model (--stronglyTyped)"), (ELEVEN, "of the model (default)")):
        command = build_command(program_of(kind), Path("m"), TrtexecOptions(), "input", PROFILE)
        assert command.settings["types"] == made


def test_a_version_that_would_guess_types_is_refused() -> None:
    program = read_help(Path("trtexec"), TEN.read("help.txt").replace("--stronglyTyped", "--other"))
    with pytest.raises(UsageError, match="has no flag --stronglyTyped"):
        build_command(program, Path("m"), TrtexecOptions(), "input", PROFILE)


def test_what_flags_and_defaults_made_is_told_apart() -> None:
    options = TrtexecOptions(tf32=False)
    settings = [build_command(program_of(kind), Path("m"), options, "input", PROFILE).settings for kind in KINDS]
    assert [item["CUDA graph"] for item in settings] == [
        "on (--useCudaGraph)", "on (default)", "on (--rtxCudaGraphStrategy=wholeGraph)"
    ]  # fmt: skip
    assert [item["data transfers"] for item in settings[:2]] == ["on (default)", "on (--includeDataTransfers)"]
    assert {item["TF32"] for item in settings} == {"off (--noTF32)"}
    assert {(item["workspace MiB"], item["optimization level"]) for item in settings} == {("default", "default")}
    options = TrtexecOptions(workspace_mib=64, optimization_level=5)
    for kind in (TEN, ELEVEN):
        chosen = build_command(program_of(kind), Path("m"), options, "input", PROFILE).settings
        assert chosen["workspace MiB"] == "64 (--memPoolSize=workspace:64)"
        assert chosen["optimization level"] == "5 (--builderOptimizationLevel=5)"


def test_tensorrt_for_rtx_has_ways_of_its_own() -> None:
    flags = flags_of(RTX, TrtexecOptions(use_cuda_graph=False, data_transfers=False))
    assert "--rtxCudaGraphStrategy=disable" in flags
    assert "--noCudaGraph" not in flags  # not both, says its help
    assert "--specializeStrategyDS=eager" in flags
    with pytest.raises(UsageError, match=r"tensorrt_rtx of TensorRT for RTX 1\.7\.1 .* has no flag --timingCacheFile"):
        flags_of(RTX, TrtexecOptions(timing_cache=Path("c")))


def test_a_version_without_a_switch_is_refused() -> None:
    text = ELEVEN.read("help.txt").replace("--noSpinWait", "--other").replace("--useSpinWait", "--another")
    program = read_help(Path("trtexec"), text)
    with pytest.raises(UsageError, match="no flag for spin_wait, neither --useSpinWait nor --noSpinWait"):
        build_command(program, Path("m"), TrtexecOptions(), "input", PROFILE)


def test_every_option_reaches_the_command() -> None:
    options = TrtexecOptions(
        warmup_ms=700, duration_s=2.5, iterations=33, streams=4, optimization_level=0, workspace_mib=512,
        timing_cache=Path("/elsewhere/cache"), engine=Path("/elsewhere/engine"),
    )  # fmt: skip
    flags = flags_of(TEN, options)
    assert set(flags) >= {
        "--onnx=/m.onnx",
        "--minShapes=input:1x3x64x64", "--optShapes=input:1x3x360x640", "--maxShapes=input:1x3x1080x1920",
        "--shapes=input:1x3x720x1280",
        "--warmUp=700", "--duration=2.5", "--iterations=33", "--infStreams=4", "--percentile=50,95,99",
        "--builderOptimizationLevel=0", "--memPoolSize=workspace:512", "--timingCacheFile=timing.cache",
        "--saveEngine=model.engine", "--exportTimes=times.json", "--exportProfile=profile.json",
        "--exportLayerInfo=layers.json", "--profilingVerbosity=detailed", "--separateProfileRun",
    }  # fmt: skip
    assert "--separateProfileRun" not in flags_of(ELEVEN, options)


def test_a_fixed_shape_needs_no_flags() -> None:
    assert not [flag for flag in flags_of(TEN, TrtexecOptions(), None) if "hapes" in flag]


def test_layers_cost_a_run_only_where_wanted() -> None:
    flags = " ".join(flags_of(TEN, TrtexecOptions(layers=False)))
    for flag in ("Profile", "LayerInfo", "profilingVerbosity"):
        assert flag not in flags


def test_switches_are_options() -> None:
    assert all(isinstance(getattr(TrtexecOptions(), switch.option), bool) for switch in SWITCHES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 0}, "iterations is 0; expected at least 1"),
        ({"streams": 0}, "streams is 0"),
        ({"warmup_ms": -1}, "warmup_ms is -1"),
        ({"duration_s": 0}, "duration_s is 0; expected more than 0"),
        ({"duration_s": float("nan")}, "duration_s is nan"),
        ({"workspace_mib": -5}, "workspace_mib is -5"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"optimization_level": 6}, "optimization_level is 6; expected 0 to 5"),
        ({"timed": "8x8"}, "timed is '8x8', but no shapes are given"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrtexecOptions(**values)  # pyright: ignore[reportArgumentType]
