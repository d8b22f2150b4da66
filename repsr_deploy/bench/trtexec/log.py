"""What a log says: the card, the time of the build, the performance summary, and the warnings that matter.

Sources of the format: samples/common/sampleReporting.cpp, sampleDevice.cpp and sampleEngines.cpp of TensorRT 10 and 11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repsr_deploy.errors import RepsrError

_LINE = re.compile(r"^(?:\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] )?\[(?P<severity>[VIWEF])\] ?(?P<text>.*)$")
_SUMMARY = "=== Performance summary ==="
_NUMBER = r"([-+.\w]+)"
_STATISTICS = ", ".join(f"{name} = {_NUMBER} ms" for name in ("min", "max", "mean", "median"))
_PERCENTILE = re.compile(rf"percentile\(([\d.]+)%\) = {_NUMBER} ms")
_ECHO = re.compile(r"^(?P<name>[\w -]+): (?P<state>Enabled|Disabled)$")
_GRAPH_FAILED = re.compile(r"CUDA graph capture failed|--useCudaGraph flag has been ignored|disabled CUDA graph")
_MATTERS = re.compile(
    r"^\* (GPU compute time is unstable|Throughput may be bound|Multiple inference streams)"
    r"|auxiliary streams, so|not permitted under CUDA graph capture"
)


@dataclass(frozen=True)
class Entry:
    """One line of a log."""

    severity: str
    """V, I, W, E or F; empty for what no logger wrote."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Statistics of one metric over all queries, as the program printed them."""

    min_s: float
    max_s: float
    mean_s: float
    median_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, kw_only=True)
class Log:
    """What was read."""

    gpu: str
    compute_capability: str
    build_s: float
    """From the parsed network to the engine."""
    engine_mib: float
    throughput_qps: float
    """Queries a second of wall-clock time."""
    gpu_compute: Summary
    latency: Summary
    """Input copied, computed, output copied; without copies the same as `gpu_compute`."""
    enqueue: Summary
    """Time of the host to launch a query."""
    echo: Mapping[str, bool]
    """Options as the program repeats them, where they are on or off."""
    graph_failed: bool
    """A CUDA graph was wanted and could not be captured."""
    warnings: tuple[str, ...]


def entries(lines: Sequence[str]) -> list[Entry]:
    """Split lines into severity and text, time stamps left out."""
    matches = ((line.rstrip(), _LINE.match(line.rstrip())) for line in lines)
    return [Entry(match["severity"], match["text"]) if match else Entry("", line) for line, match in matches]


def parse_log(lines: Sequence[str]) -> Log:
    """Read the log of a run that passed.

    Raises:
        RepsrError: a number that is needed is missing, is no number, or is zero; the message quotes the line expected.
    """
    said = entries(lines)
    texts = [entry.text for entry in said]
    if _SUMMARY not in texts:
        raise _missing(f"`{_SUMMARY}`")
    summary = texts[texts.index(_SUMMARY) + 1 :]
    return Log(
        gpu=_word(texts, "Selected Device: (.+)", "Selected Device: NVIDIA ..."),
        compute_capability=_word(texts, r"Compute Capability: (\d+\.\d+)", "Compute Capability: 8.9"),
        build_s=_positive(_word(texts, rf"Engine built in {_NUMBER} sec\.", "Engine built in 12.3 sec.")),
        engine_mib=_positive(
            _word(texts, rf"Created engine with size: {_NUMBER} MiB", "Created engine with size: 1 MiB")
        ),
        throughput_qps=_positive(_word(summary, rf"Throughput: {_NUMBER} qps", "Throughput: 123 qps")),
        gpu_compute=_summary(summary, "GPU Compute Time"),
        latency=_summary(summary, "Latency"),
        enqueue=_summary(summary, "Enqueue Time"),
        echo={match["name"]: match["state"] == "Enabled" for match in map(_ECHO.match, texts) if match},
        graph_failed=any(_GRAPH_FAILED.search(text) for text in texts),
        warnings=_warnings(said),
    )


def _warnings(said: Sequence[Entry]) -> tuple[str, ...]:
    """Those that change what the numbers mean; errors of a run that passed are tactics that the builder skipped."""
    found = [entry.text.removeprefix("* ") for entry in said if entry.severity == "W" and _MATTERS.search(entry.text)]
    errors = [entry.text for entry in said if entry.severity in ("E", "F")]
    if errors:
        found.append(f"{len(errors)} errors while building, such as: {errors[0]}")
    return tuple(dict.fromkeys(" ".join(text.split()) for text in found))


def _summary(texts: Sequence[str], metric: str) -> Summary:
    pattern = re.compile(rf"{metric}: {_STATISTICS}")
    match = next(filter(None, map(pattern.match, texts)), None)
    if match is None:
        raise _missing(f"`{metric}: min = ... ms, max = ... ms, mean = ... ms, median = ... ms`")
    low, high, mean, median = (_milliseconds(text, metric) for text in match.groups())
    percentiles = {float(percent): value for percent, value in _PERCENTILE.findall(match.string)}
    for percent in (95, 99):
        if percent not in percentiles:
            raise _missing(f"`percentile({percent}%) = ... ms` of {metric}")
    if median == 0:
        raise RepsrError(f"the log gives 0 ms for {metric}; expected a time")
    return Summary(
        min_s=low,
        max_s=high,
        mean_s=mean,
        median_s=median,
        p95_s=_milliseconds(percentiles[95], metric),
        p99_s=_milliseconds(percentiles[99], metric),
    )


def _word(texts: Sequence[str], pattern: str, example: str) -> str:
    match = next(filter(None, (re.fullmatch(pattern, text.strip()) for text in texts)), None)
    if match is None:
        raise _missing(f"`{example}`")
    return match[1]


def _milliseconds(text: str, what: str) -> float:
    """Seconds from a text in milliseconds."""
    value = _number(text)
    if value is None or value < 0:
        raise RepsrError(f"the log gives {text!r} ms for {what}; expected a time")
    return value / 1e3


def _positive(text: str) -> float:
    value = _number(text)
    if value is None or value <= 0:
        raise RepsrError(f"the log gives {text!r} where a number above 0 was expected")
    return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _missing(what: str) -> RepsrError:
    return RepsrError(f"the log has no line {what}, without which nothing can be reported; was it cut off?")
