"""The files that the program writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from repsr_deploy.bench.trtexec.exports import read_layers, read_times
from repsr_deploy.bench.trtexec.log import parse_log
from repsr_deploy.errors import RepsrError
from tests.bench.trtexec.stand_in import ELEVEN, KINDS, LOGS, TEN, Kind


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_times_of_every_query(kind: Kind) -> None:
    times = read_times(LOGS / kind.folder / "times.json")
    log = parse_log(kind.lines())
    assert len(times.gpu) == len(times.latency) == len(times.to_device) == len(times.from_device) == 41
    assert statistics.median(times.gpu) == pytest.approx(log.gpu_compute.median_s, rel=1e-5)
    assert max(times.latency) == pytest.approx(log.latency.max_s, rel=1e-5)
    parts = zip(times.to_device, times.gpu, times.from_device, strict=True)
    assert [sum(part) for part in parts] == pytest.approx(times.latency, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_layers_with_their_types(kind: Kind) -> None:
    folder = LOGS / kind.folder
    layers = read_layers(folder / "profile.json", folder / "layers.json")
    assert sum(layer.share for layer in layers) == pytest.approx(1)
    first, head, *_, last = layers
    assert first.name == "Reformatting CopyNode for Input Tensor 0 to head"
    assert (first.kind, first.inputs, first.outputs) == ("Reformat", ("fp32",), ("fp16",))
    assert (head.kind, head.inputs, head.outputs) == ("CaskConvolution", ("fp16",), ("fp16",))
    assert head.mean_s == pytest.approx(0.0502e-3)
    assert head.share == pytest.approx(0.0502 / 0.5192)
    assert (last.inputs, last.outputs) == (("fp16",), ("fp32",))


def copied(kind: Kind, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Copies of the three files, to be damaged."""
    paths = (tmp_path / "times.json", tmp_path / "profile.json", tmp_path / "layers.json")
    for path in paths:
        path.write_text(kind.read(path.name))
    return paths


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("Row major linear FP32", "fp32"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("BFloat16", "bf16"),
        ("Row major linear BF16 format (kLINEAR)", "bf16"),
        ("UInt8", "uint8"),
        ("FP8", "fp8"),
        ("Int64", "int64"),
    ],
)
def test_types_as_inspectors_write_them(text: str, type_name: str, tmp_path: Path) -> None:
    _, profile, layers = copied(TEN, tmp_path)
    layers.write_text(layers.read_text().replace('"Half"', json.dumps(text)))
    assert read_layers(profile, layers)[1].inputs == (type_name,)


def test_what_the_inspector_does_not_say_is_unknown(tmp_path: Path) -> None:
    _, profile, layers = copied(TEN, tmp_path)
    layers.write_text(layers.read_text().replace('"Half"', '"N/A due to dynamic shapes"'))
    assert read_layers(profile, layers)[1].inputs == ()
    layers.write_text(json.dumps({"Layers": ["head", "tail"], "Bindings": []}))
    assert {(layer.kind, layer.inputs) for layer in read_layers(profile, layers)} == {("", ())}


def test_damaged_times_are_refused(tmp_path: Path) -> None:
    times, _, _ = copied(ELEVEN, tmp_path)
    content: list[dict[str, Any]] = json.loads(times.read_text())
    for damaged, why in (
        (times.read_text()[:-40], "cannot be understood"),
        ("", "cannot be understood"),
        ("[]", "no query was timed"),
        ("{}", "no query was timed"),
        ("3", "TypeError"),
        (json.dumps([{key: value for key, value in content[0].items() if key != "computeMs"}]), "computeMs"),
        (json.dumps([content[0] | {"computeMs": "slow"}]), "ValueError"),
        (json.dumps([content[0] | {"computeMs": -0.1}]), "-0.1 ms is no time"),
        (json.dumps([content[0] | {"latencyMs": float("inf")}]), "inf ms is no time"),
        ('[{ "computeMs" : nan }]', "cannot be understood"),
    ):
        times.write_text(damaged)
        with pytest.raises(RepsrError, match=why):
            read_times(times)
    times.unlink()
    with pytest.raises(RepsrError, match="no file was written for --exportTimes"):
        read_times(times)


def test_damaged_layers_are_refused(tmp_path: Path) -> None:
    _, profile, layers = copied(ELEVEN, tmp_path)
    whole = profile.read_text()
    for damaged, why in (
        (whole[:-30], "cannot be understood.*or without layers"),
        ('[{ "count" : 7 }]', "no layer took any time"),
        ('[{ "count" : 7 }, { "name" : "a" }]', "averageMs"),
        ('[{ "count" : 7 }, { "name" : "a", "averageMs" : 0 }]', "no layer took any time"),
    ):
        profile.write_text(damaged)
        with pytest.raises(RepsrError, match=why):
            read_layers(profile, layers)
    profile.write_text(whole)
    for damaged in ("[]", "{}", '{"Layers": [{}]}', ""):
        layers.write_text(damaged)
        with pytest.raises(RepsrError, match=r"layers\.json, written for --exportLayerInfo, cannot be understood"):
            read_layers(profile, layers)
