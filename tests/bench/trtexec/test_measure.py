"""From a model to figures, with a stand-in for the program."""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from repsr_deploy.bench.trtexec import TrtexecOptions, TrtexecResult, find_program, measure, process
from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError
from tests.bench.trtexec.stand_in import ELEVEN, LOGS, RTX, TEN, Kind, install, write_model
from tests.bench.trtexec.test_process import wait_for_end

SHAPES = "64x64:360x640:1080x1920"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, to see what is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def exported(kind: Kind, key: str) -> list[float]:
    return [query[key] / 1e3 for query in json.loads(kind.read("times.json"))]


@pytest.mark.parametrize("kind", [TEN, ELEVEN], ids=lambda kind: kind.folder)
def test_gpu_time_and_end_to_end_apart(kind: Kind, model: Path, tmp_path: Path, temporary: Path) -> None:
    seen: list[str] = []
    program = find_program(install(tmp_path / "bin", kind))
    result = measure(model, TrtexecOptions(shapes=SHAPES), program=program, on_line=seen.append)
    assert result.program == kind.version
    assert result.gpu_time.times_s == pytest.approx(exported(kind, "computeMs"))
    assert result.latency is not None
    assert result.latency.times_s == pytest.approx(exported(kind, "latencyMs"))
    assert result.latency.median_s > result.gpu_time.median_s
    assert result.to_device is not None
    assert result.from_device is not None
    assert result.from_device.median_s == pytest.approx(statistics.median(exported(kind, "d2hMs")))
    assert result.shape == (1, 3, 360, 640)
    assert result.images_per_s == result.throughput_qps
    assert result.enqueue.median_s < result.gpu_time.median_s
    assert seen[-1].startswith("&&&& PASSED")
    assert len(seen) == len(kind.lines())
    assert list(temporary.iterdir()) == []


def test_the_row_is_plain_and_says_how_it_was_measured(model: Path, tmp_path: Path) -> None:
    result = run(model, install(tmp_path, ELEVEN))
    row = result.to_row()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["gpu_time_median_s"] == result.gpu_time.median_s
    assert row["latency_p99_s"] == pytest.approx(0.337409e-3, rel=0.01)
    assert row["build_s"] == 6.197
    assert row["queries"] == 41
    assert row["shape"] == "1x3x360x640"
    assert row["settings"]["data transfers"] == "on (--includeDataTransfers)"
    assert row["settings"]["types"] == "of the model (default)"
    assert row["types"] == pytest.approx({"fp16": 1 - 0.0213 / 0.5192, "fp32": 0.0213 / 0.5192})
    assert "--includeDataTransfers" in row["arguments"]
    assert row["warnings"] == list(result.warnings)
    whole = result.to_dict()
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole | {"layers": json.loads(json.dumps(whole["layers"]))}
    assert whole["times_s"]["gpu_time"] == list(result.gpu_time.times_s)
    assert len(whole["layers"]) == 8
    assert result.conditions.startswith(
        "TensorRT 11.0.0 (build 114) on NVIDIA B200, compute capability 10.0: types of the model (default), CUDA graph "
        "on (default), data transfers on (--includeDataTransfers)"
    )


def run(model: Path, program: Path, options: TrtexecOptions | None = None) -> TrtexecResult:
    return measure(model, options or TrtexecOptions(shapes=SHAPES), program=find_program(program))


@pytest.mark.parametrize("kind", [TEN, ELEVEN], ids=lambda kind: kind.folder)
@pytest.mark.parametrize("wanted", [(False, False, False), (True, False, True), (False, True, True)])
def test_the_program_understands_what_is_meant(
    kind: Kind, wanted: tuple[bool, bool, bool], model: Path, tmp_path: Path
) -> None:
    graph, transfers, spin = wanted
    options = TrtexecOptions(
        shapes=SHAPES, use_cuda_graph=graph, data_transfers=transfers, spin_wait=spin, layers=False
    )
    result = run(model, install(tmp_path, kind), options)
    states = [result.settings[name].split()[0] for name in ("CUDA graph", "data transfers", "spin wait")]
    assert states == ["on" if value else "off" for value in wanted]
    assert (result.latency is not None) == transfers
    assert (result.to_row()["h2d_median_s"] is not None) == transfers
    assert result.layers == ()


@pytest.mark.parametrize(
    ("kind", "name"), list(itertools.product([TEN, ELEVEN], ["CUDA Graph", "Data transfers", "Spin-wait"]))
)
def test_a_version_that_understands_its_flags_otherwise_is_not_believed(
    kind: Kind, name: str, model: Path, tmp_path: Path
) -> None:
    """Its log then says the opposite of what was asked for."""
    flipped = [(f"] {name}: Enabled", f"] {name}: Disabled")]
    with pytest.raises(RepsrError, match=f"on, but the log does not say `{name}: Enabled`"):
        run(model, install(tmp_path, kind, replaced=flipped))


def test_tensorrt_for_rtx(model: Path, tmp_path: Path) -> None:
    program = install(tmp_path, RTX)
    result = run(model, program, TrtexecOptions(shapes=SHAPES, data_transfers=False))
    assert result.program == "TensorRT for RTX 1.7.1 (build 116)"
    assert result.latency is None
    assert result.to_device is None
    assert result.settings["kernels of the timed shape"] == "made before it is timed (--specializeStrategyDS=eager)"
    assert result.build_s == 0.2042


def test_a_graph_that_could_not_be_captured_is_not_claimed(model: Path, tmp_path: Path) -> None:
    failed = "CUDA graph capture failed. The inference will be launched without using CUDA graph."
    program = install(tmp_path, ELEVEN, replaced=[("Starting inference", failed)])
    assert run(model, program).settings["CUDA graph"] == "off (this engine cannot be captured as one)"


def test_engine_and_timing_cache_are_kept_whole(model: Path, tmp_path: Path) -> None:
    engine, cache = tmp_path / "out" / "m.engine", tmp_path / "cache"
    cache.write_bytes(b"some")
    program = install(tmp_path, TEN)
    options = TrtexecOptions(shapes=SHAPES, engine=engine, timing_cache=cache)
    run(model, program, options)
    assert engine.read_bytes() == b"an engine"
    assert cache.read_bytes() == b"somemore"
    assert sorted(path.name for path in engine.parent.iterdir()) == ["m.engine"]
    failing = install(tmp_path / "failing", TEN, code=1)
    with pytest.raises(RepsrError, match="failed with code 1"):
        run(model, failing, options)
    assert engine.read_bytes() == b"an engine"
    assert cache.read_bytes() == b"somemore"


def test_failures_name_their_cause(model: Path, tmp_path: Path) -> None:
    for name, kind, message in (
        ("no-gpu", RuntimeUnavailableError, "no CUDA device is visible"),
        ("out-of-memory", RepsrError, "too little free memory"),
        ("not-parsed", ModelFileError, "TensorRT cannot read this model"),
    ):
        program = install(tmp_path / name, TEN, log=LOGS / "failures" / f"{name}.log", code=1)
        with pytest.raises(kind, match=message):
            run(model, program)


def test_a_truncated_log_gives_no_result(model: Path, tmp_path: Path) -> None:
    lines = ELEVEN.lines()
    cut = tmp_path / "cut.log"
    end = next(index for index, line in enumerate(lines) if "Enqueue Time" in line)
    cut.write_text("\n".join([*lines[:end], lines[-1]]) + "\n")
    with pytest.raises(RepsrError, match="no line `GPU Compute Time: min"):
        run(model, install(tmp_path, ELEVEN, log=cut))
    cut.write_text("\n".join(lines[:end]) + "\n")
    with pytest.raises(RepsrError, match="ended without saying that it passed"):
        run(model, install(tmp_path, ELEVEN, log=cut))


@pytest.mark.parametrize(("missing", "flag"), [("times", "Times"), ("profile", "Profile"), ("layers", "LayerInfo")])
def test_files_that_were_not_written(missing: str, flag: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match=f"no file was written for --export{flag}"):
        run(model, install(tmp_path, ELEVEN, unwritten=[missing]))


def test_times_of_another_run_are_seen(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match=r"give 0\.522\d* ms for median of GPU Compute Time, and the log 0\.54 ms"):
        run(model, install(tmp_path, TEN, replaced=[("median = 0.52232 ms", "median = 0.54 ms")]))


def test_shapes_are_checked_before_anything_runs(model: Path, tmp_path: Path) -> None:
    program = find_program(install(tmp_path, TEN, hangs=True))
    for options, message in (
        (TrtexecOptions(), "no shapes are given"),
        (TrtexecOptions(shapes="1x4x8x8"), "has 4 channels"),
    ):
        with pytest.raises(UsageError, match=message):
            measure(model, options, program=program)


def test_a_timeout_leaves_nothing(
    model: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_GRACE_S", 0.2)
    engine = tmp_path / "m.engine"
    options = TrtexecOptions(shapes=SHAPES, engine=engine, timeout_s=0.5)
    with pytest.raises(RepsrError, match=r"timeout of 0\.5 s"):
        run(model, install(tmp_path, TEN, hangs=True), options)
    assert not engine.exists()
    assert list(temporary.iterdir()) == []


def test_ctrl_c_ends_the_program_and_leaves_nothing(model: Path, tmp_path: Path, temporary: Path) -> None:
    program = install(tmp_path / "bin", ELEVEN, hangs=True)
    engine = tmp_path / "m.engine"
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from repsr_deploy.bench.trtexec import TrtexecOptions, find_program, measure\n"
        "options = TrtexecOptions(shapes='8x8', engine=Path(sys.argv[3]))\n"
        "program = find_program(Path(sys.argv[2]))\n"
        "measure(Path(sys.argv[1]), options, program=program, on_line=lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", code, str(model), str(program), str(engine)]
    started = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    with started:
        assert started.stdout is not None
        _, first, second, _, folder = started.stdout.readline().split()
        assert (Path(folder) / "model.engine").exists()
        time.sleep(0.05)
        started.send_signal(signal.SIGINT)
        started.wait(20)
    assert started.returncode != 0
    assert wait_for_end(int(first), int(second))
    assert not engine.exists()
    assert list(temporary.iterdir()) == []
