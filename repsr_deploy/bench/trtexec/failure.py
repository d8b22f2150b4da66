"""Why a program failed, from its exit code and its own words."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.bench.trtexec.log import entries
from repsr_deploy.bench.trtexec.process import Finished
from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError

PASSED = "&&&& PASSED"
DECISIVE_LINES = 4


@dataclass(frozen=True)
class Cause:
    """A known reason of failures."""

    pattern: re.Pattern[str]
    advice: str
    """What it means and what to do."""
    error: type[RepsrError]


def _cause(pattern: str, advice: str, error: type[RepsrError] = RepsrError) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), advice, error)


CAUSES = (
    _cause(
        r"cannot find any available devices|no CUDA-capable device|cannot find device ID",
        "no CUDA device is visible; see whether `nvidia-smi` lists one, and start a container with `--gpus all`",
        RuntimeUnavailableError,
    ),
    _cause(
        r"driver version is insufficient|forward compatibility was attempted|PTX was compiled with an unsupported",
        "the NVIDIA driver is too old for this TensorRT's CUDA; update it, or take a TensorRT built for an older CUDA",
        RuntimeUnavailableError,
    ),
    _cause(
        r"unable to open library|could not load library|error while loading shared libraries",
        "a library is missing; add the `lib` folder of this TensorRT to LD_LIBRARY_PATH",
        RuntimeUnavailableError,
    ),
    _cause(
        r"target GPU SM \d+ is not supported|no kernel image is available",
        "this TensorRT does not support the GPU; take another version of TensorRT",
        RuntimeUnavailableError,
    ),
    _cause(r"unknown option:", "this version does not know the flag; expected TensorRT 10, 11 or TensorRT for RTX"),
    _cause(
        r"not compatible with this version of TensorRT|has been created with TensorRT\S* version"
        r"|version tag does not match|engine plan file is generated on an incompatible device",
        "the engine or timing cache is of another TensorRT or GPU; delete it and build again",
    ),
    _cause(
        r"failed to parse onnx file|parsing model failed|importer|could not open file",
        "TensorRT cannot read this model; export it with `repsr-fuse export`, which tests its files for this",
        ModelFileError,
    ),
    _cause(
        r"static model does not take explicit shapes|do not match the static shapes|cannot find input tensor"
        r"|kMIN dimensions|kOPT dimensions|kMAX dimensions|static dimension mismatch",
        "the shapes do not fit the model",
        UsageError,
    ),
    _cause(
        r"out of memory|OutOfMemory|insufficient memory|could not be allocated",
        "the GPU has too little free memory; take a smaller MAX shape or batch or fewer streams, limit the workspace, "
        "or end other programs that use the GPU",
    ),
)
"""The first that fits counts, because the later ones are often consequences."""


def why_failed(program: Path, finished: Finished) -> RepsrError | None:
    """The error to raise for a finished program; None where it passed.

    Lines marked as errors alone are no failure: the builder prints some for each kernel that it tries and gives up.
    """
    passed = any(line.startswith(PASSED) for line in finished.lines)
    if finished.code == 0 and passed:
        return None
    words = telling(finished.lines)
    cause = next((cause for cause in CAUSES if any(map(cause.pattern.search, words))), None)
    said = f"{program.name} {_ending(finished.code)}: {' | '.join(words[-DECISIVE_LINES:]) or 'it printed nothing'}"
    return (cause.error if cause else RepsrError)(f"{said}; {cause.advice}" if cause else said)


def telling(lines: Sequence[str]) -> list[str]:
    """The errors, each once; where there are none, the last lines that are not empty: some exits print no error."""
    said = entries(lines)
    errors = [entry.text for entry in said if entry.severity in ("E", "F") or "Cuda failure" in entry.text]
    last = [entry.text for entry in said if entry.text.strip() and not entry.text.startswith("&&&&")][-DECISIVE_LINES:]
    return list(dict.fromkeys(text.strip() for text in errors or last))


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"failed with code {code}" if code else "ended without saying that it passed"
