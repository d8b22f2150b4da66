"""Numbers from logs of each version, and none where they are not there."""

from __future__ import annotations

import pytest

from repsr_deploy.bench.trtexec.log import Log, Summary, parse_log
from repsr_deploy.errors import RepsrError
from tests.bench.trtexec.stand_in import ELEVEN, KINDS, RTX, TEN, Kind

NEEDED = (
    "Selected Device:", "Compute Capability:", "Created engine with size", "Engine built in", "Performance summary",
    "Throughput:", "Latency: min", "Enqueue Time:", "GPU Compute Time: min",
)  # fmt: skip


def printed(kind: Kind, metric: str) -> list[float]:
    """Numbers of a metric, ms, taken apart in another way: minimum, maximum, mean, median, 50%, 95%, 99%."""
    (line,) = (line for line in kind.lines() if f"] {metric}: min" in line)
    return [float(part.split(" = ")[1].split()[0]) for part in line.partition(metric)[2].split(",")]


def summary_ms(summary: Summary) -> list[float]:
    values = (summary.min_s, summary.max_s, summary.mean_s, summary.median_s, summary.p95_s, summary.p99_s)
    return [value * 1e3 for value in values]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_every_metric(kind: Kind) -> None:
    log = parse_log(kind.lines())
    for metric, summary in (
        ("GPU Compute Time", log.gpu_compute), ("Latency", log.latency), ("Enqueue Time", log.enqueue)
    ):  # fmt: skip
        numbers = printed(kind, metric)
        assert summary_ms(summary) == pytest.approx([*numbers[:4], *numbers[5:]], rel=1e-12)


def test_tensorrt_10() -> None:
    log = parse_log(TEN.lines())
    assert (log.gpu, log.compute_capability) == ("NVIDIA RTX 6000 Ada Generation", "8.9")
    assert (log.build_s, log.engine_mib) == (13.2841, 0.182678)
    assert log.throughput_qps == 1901.53
    assert log.gpu_compute.median_s == pytest.approx(0.52232e-3)
    assert log.latency.median_s > log.gpu_compute.median_s
    assert log.echo["CUDA Graph"]
    assert log.echo["Separate profiling"]
    assert not log.echo["Refit"]
    assert not log.graph_failed
    assert log.warnings == (
        "Throughput may be bound by device-to-host transfers for the outputs rather than GPU Compute and the GPU may "
        "be under-utilized.",
        "GPU compute time is unstable, with coefficient of variance = 3.18%.",
    )


def test_tensorrt_11() -> None:
    log = parse_log(ELEVEN.lines())
    assert (log.gpu, log.compute_capability) == ("NVIDIA B200", "10.0")
    assert (log.build_s, log.engine_mib) == (6.197, 0.239849)
    assert log.throughput_qps == 8989.59
    assert log.gpu_compute.median_s == pytest.approx(0.10812e-3)
    assert [warning[:45] for warning in log.warnings] == ["Throughput may be bound by device-to-host tra"]


def test_tensorrt_for_rtx_without_copies() -> None:
    log = parse_log(RTX.lines())
    assert log.gpu == "NVIDIA GeForce RTX 5090"
    assert log.latency == log.gpu_compute
    assert "H2D Latency" not in RTX.read("run.log")
    assert log.warnings == ()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_a_log_cut_off_anywhere_gives_no_numbers(kind: Kind) -> None:
    lines = kind.lines()
    last = max(index for index, line in enumerate(lines) if "GPU Compute Time: min" in line)
    for count in range(last + 1):
        with pytest.raises(RepsrError, match="the log has no line"):
            parse_log(lines[:count])
    parse_log(lines[: last + 1])


@pytest.mark.parametrize("needed", NEEDED)
def test_a_missing_line_is_named(needed: str) -> None:
    lines = [line for line in ELEVEN.lines() if needed not in line]
    with pytest.raises(RepsrError, match="the log has no line") as caught:
        parse_log(lines)
    assert needed.partition(":")[0] in str(caught.value)


def replaced(kind: Kind, old: str, new: str) -> Log:
    text = kind.read("run.log")
    assert old in text
    return parse_log(text.replace(old, new).splitlines())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Throughput: 8989.59 qps", "Throughput: 0 qps", "gives '0' where a number above 0"),
        ("Throughput: 8989.59 qps", "Throughput: inf qps", "gives 'inf' where a number above 0"),
        ("Throughput: 8989.59 qps", "Throughput: many qps", "gives 'many' where"),
        ("Throughput: 8989.59 qps", "Throughput: 8989.59", "no line `Throughput: 123 qps`"),
        ("built in 6.197 sec", "built in nan sec", "gives 'nan' where"),
        ("median = 0.10812 ms", "median = 0 ms", "gives 0 ms for GPU Compute Time"),
        ("median = 0.10812 ms", "median = -nan ms", "gives '-nan' ms for GPU Compute Time"),
        ("median = 0.10812 ms", "median = -1 ms", "gives '-1' ms for GPU Compute Time"),
        ("percentile(95%) = 0.109766 ms", "percentile(90%) = 0.109766 ms", r"percentile\(95%\).* of GPU Compute Time"),
        ("percentile(99%) = 0.110635 ms", "percentile(99%) = inf ms", "gives 'inf' ms for GPU Compute Time"),
    ],
)
def test_what_is_no_number_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(RepsrError, match=message):
        replaced(ELEVEN, old, new)


def test_words_of_the_verbose_log_are_no_numbers() -> None:
    lines = ELEVEN.lines()
    before = lines.index(next(line for line in lines if "Performance summary" in line))
    said = "[09/08/2026-10:20:56] [V] Throughput: the observed throughput computed by dividing the number of queries"
    assert parse_log([*lines[:before], said, *lines[before:], said]) == parse_log(lines)


def test_errors_of_a_run_that_passed_are_kept_as_one_warning() -> None:
    error = "[09/08/2026-10:20:50] [E] Error[9]: Skipping tactic 0x0 due to exception"
    log = parse_log([error, error, *ELEVEN.lines()])
    assert log.warnings[-1] == "2 errors while building, such as: Error[9]: Skipping tactic 0x0 due to exception"


@pytest.mark.parametrize(
    ("text", "matters"),
    [
        ("* Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized.", True),
        ("* Throughput may be bound by host-to-device transfers for the inputs rather than GPU Compute and ...", True),
        (
            "* Multiple inference streams are used. Latencies may not be accurate since inferences may run in   par",
            True,
        ),
        ('The engine uses 2 auxiliary streams, so the "Total" latency may not be accurate because some layers', True),
        ("The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode.", True),
        ("[TRT] ModelImporter.cpp:1047: Make sure output z has Int64 binding.", False),
        ("  If you are using --noCudaGraph, removing it may increase throughput.", False),
    ],
)
def test_warnings_that_matter(text: str, matters: bool) -> None:
    log = parse_log([*RTX.lines(), f"[09/08/2026-10:20:56] [W] {text}"])
    assert log.warnings == ((" ".join(text.removeprefix("* ").split()),) if matters else ())


@pytest.mark.parametrize(
    "text",
    [
        "CUDA graph capture failed. The inference will be launched without using CUDA graph.",
        "The specified --useCudaGraph flag has been ignored. The inference will be launched without using CUDA graph "
        "launch.",
    ],
)
def test_a_graph_that_could_not_be_captured_is_seen(text: str) -> None:
    assert parse_log([*TEN.lines(), f"[09/08/2026-10:20:56] [W] {text}"]).graph_failed
