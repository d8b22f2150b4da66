"""The command line for the version found, and in words what was chosen by a flag and what is a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.bench.trtexec.options import TrtexecOptions
from repsr_deploy.bench.trtexec.program import Program
from repsr_deploy.bench.trtexec.shapes import Profile, shape_flags
from repsr_deploy.errors import UsageError

PERCENTILES = (50, 95, 99)
TRACE_LINES_RUNS = 1000
"""A line of the log for so many queries, instead of ten."""


@dataclass(frozen=True)
class Switch:
    """What versions do differently by themselves. Flags of one side that a version lacks, or keeps without effect, mean
    that this side is its default."""

    option: str
    """Field of `TrtexecOptions`."""
    title: str
    on: tuple[str, ...]
    """Flags that ask for it, the newest first."""
    off: tuple[str, ...]
    echo: str | None = None
    """What trtexec calls it where it repeats its options at the head of its log."""


SWITCHES = (
    Switch(
        "use_cuda_graph",
        "CUDA graph",
        on=("--rtxCudaGraphStrategy=wholeGraph", "--useCudaGraph"),
        off=("--rtxCudaGraphStrategy=disable", "--noCudaGraph"),
        echo="CUDA Graph",
    ),
    Switch(
        "data_transfers",
        "data transfers",
        on=("--includeDataTransfers",),
        off=("--noDataTransfers",),
        echo="Data transfers",
    ),
    Switch("spin_wait", "spin wait", on=("--useSpinWait",), off=("--noSpinWait",), echo="Spin-wait"),
    Switch("tf32", "TF32", on=(), off=("--noTF32",)),
)
"""Sources: the help of TensorRT 10.6, `InferenceOptions::parse` of TensorRT 11 (samples/common/sampleOptions.cpp), and
"Performance Benchmarking" in the documentation of TensorRT for RTX."""


TIMES = "times.json"
PROFILE = "profile.json"
LAYERS = "layers.json"
ENGINE = "model.engine"
TIMING_CACHE = "timing.cache"
"""What the program reads and writes in the folder in which it runs."""


@dataclass(frozen=True)
class Command:
    """What to start, and what it means."""

    arguments: tuple[str, ...]
    settings: Mapping[str, str]
    """Choice -> what it is and what made it: `on (--useCudaGraph)`, `off (default)`."""


def build_command(
    program: Program, model: Path, options: TrtexecOptions, source: str, profile: Profile | None
) -> Command:
    """Flags for one build and measurement of `model`, whose input is named `source`; files go into the working folder.

    Raises:
        UsageError: this version cannot do what an option asks for.
    """
    chosen = _Chosen(program)
    chosen.flag(f"--onnx={model.resolve()}")
    for flag in shape_flags(source, profile) if profile is not None else ():
        chosen.flag(flag)
    if program.guesses_types:
        chosen.flag("--stronglyTyped")
    chosen.settings["types"] = f"of the model ({'--stronglyTyped' if program.guesses_types else 'default'})"
    for switch in SWITCHES:
        chosen.switch(switch, wanted=getattr(options, switch.option))
    chosen.where_taken("kernels of the timed shape", "made before it is timed", "--specializeStrategyDS=eager")
    chosen.optional("optimization level", "--builderOptimizationLevel=", options.optimization_level)
    chosen.optional("workspace MiB", "--memPoolSize=workspace:", options.workspace_mib)
    if options.timing_cache is not None:
        chosen.flag(f"--timingCacheFile={TIMING_CACHE}")
    chosen.flag(f"--infStreams={options.streams}")
    chosen.flag(f"--warmUp={options.warmup_ms}")
    chosen.flag(f"--duration={options.duration_s:g}")
    chosen.flag(f"--iterations={options.iterations}")
    chosen.flag(f"--avgRuns={TRACE_LINES_RUNS}")
    chosen.flag(f"--percentile={','.join(map(str, PERCENTILES))}")
    chosen.flag(f"--exportTimes={TIMES}")
    if options.layers:
        chosen.flag("--profilingVerbosity=detailed")
        chosen.flag(f"--exportProfile={PROFILE}")
        chosen.flag(f"--exportLayerInfo={LAYERS}")
        if program.takes("--separateProfileRun"):  # without effect where the profiler always has a run of its own
            chosen.flag("--separateProfileRun")
    if options.engine is not None:
        chosen.flag(f"--saveEngine={ENGINE}")
    return Command((str(program.path), *chosen.flags), chosen.settings)


class _Chosen:
    """Flags chosen so far, none of which the program does not know."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.flags: list[str] = []
        self.settings: dict[str, str] = {}

    def flag(self, flag: str) -> None:
        if not self.program.takes(flag):
            name = flag.partition("=")[0]
            raise UsageError(
                f"{self.program.path} of {self.program.name} has no flag {name}; expected a version that has it, or "
                "leave out the option that needs it"
            )
        self.flags.append(flag)

    def switch(self, switch: Switch, *, wanted: bool) -> None:
        asking, opposite = (switch.on, switch.off) if wanted else (switch.off, switch.on)
        state = "on" if wanted else "off"
        flag = next((flag for flag in asking if self.program.takes(flag)), None)
        if flag is None and not any(map(self.program.takes, opposite)):
            raise UsageError(
                f"{self.program.path} of {self.program.name} has no flag for {switch.option}, neither "
                f"{' nor '.join((*switch.on, *switch.off))}; expected a version that has one of them"
            )
        if flag is not None:
            self.flags.append(flag)
        self.settings[switch.title] = f"{state} ({flag or 'default'})"

    def where_taken(self, setting: str, meaning: str, flag: str) -> None:
        """A flag of some versions; the others have no such thing."""
        if self.program.takes(flag):
            self.flags.append(flag)
            self.settings[setting] = f"{meaning} ({flag})"

    def optional(self, setting: str, flag: str, value: object | None) -> None:
        """A flag that is passed where there is a value for it."""
        if value is not None:
            self.flag(f"{flag}{value}")
        self.settings[setting] = "default" if value is None else f"{value} ({flag}{value})"
