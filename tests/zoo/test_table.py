"""The table of folds: its figures are those of the graphs, its explanations follow from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from repsr_deploy.cli.errors import run
from tests.zoo.blocks import BLOCKS
from tests.zoo.export import exported_block
from tests.zoo.table import COLUMNS, app, render
from tests.zoo.table_rows import SIDES, Row, measure
from tests.zoo.table_sources import FOREIGN, OURS, sources

MADE_BY = {
    "command": "scripts/folding",
    "packages": {"torch": "2"},
    "machine": {"version": "0", "python": "3", "processor": "one", "cores": 1, "platform": "Linux"},
}


def row_of(name: str, folder: Path) -> Row:
    (folder / "source.onnx").write_bytes(exported_block(name))
    return measure(name, "Blocks", folder / "source.onnx", folder, seconds=0)


def test_a_row_counts_what_was_folded(tmp_path: Path) -> None:
    row = row_of("repsr", tmp_path)
    convolutions = {3 * 9 * 8, 2 * 9 * 8 * 8, 8 * 9 * 12}
    branches = 2 * 2 * (9 * 8 * 16 + 16 * 8)
    assert row.after.macs_per_lr_pixel == sum(convolutions)
    assert row.before.macs_per_lr_pixel == sum(convolutions) - 2 * 9 * 8 * 8 + branches
    assert row.operators_before["BatchNormalization"] == 4
    assert "BatchNormalization" not in row.operators_after
    assert row.before.nodes == sum(row.operators_before.values()) > row.after.nodes == sum(row.operators_after.values())
    assert row.runtime_nodes_before > row.runtime_nodes_after
    assert 0 < max(row.error_interior, row.error_border) < 1e-10 < row.error_stored < 2e-5
    assert row.sides == SIDES[0]
    assert row.times_s.keys() == {"before", "after", "before again"}
    assert not row.kept


def test_a_row_says_what_was_kept_and_why_it_is_not_faster(tmp_path: Path) -> None:
    row = replace(row_of("separable", tmp_path), speed_ratio=1.01)
    assert list(row.kept.values()) == [2]
    assert "times the multiply-adds" in next(iter(row.kept))
    assert row.slow_reason == "nothing was folded: the same nodes as before"
    text = render([row], MADE_BY)
    assert "- separable (1.01): nothing was folded" in text
    assert f"  - 2 of {next(iter(row.kept))}" in text


def test_a_reason_names_what_went_and_what_the_runtime_does_itself(tmp_path: Path) -> None:
    row = row_of("repsr", tmp_path)
    slow = replace(row, speed_ratio=0.99, after=row.before).slow_reason
    assert slow.startswith("the same multiply-adds; 4 Add, 4 BatchNormalization, 6 Conv gone")
    assert slow.endswith(
        f"{row.runtime_nodes_before} nodes of the graph before, {row.runtime_nodes_after} of that after"
    )
    assert replace(row, speed_ratio=1.2).slow_reason == ""
    lines = render([row], MADE_BY).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
    assert all(any(line.startswith(f"- **{heading}**: ") for line in lines) for heading in list(COLUMNS)[1:])


def test_every_kind_of_network_has_a_row() -> None:
    names = sources().keys()
    assert names >= BLOCKS.keys() | FOREIGN.keys()
    assert len(names) >= len(OURS) + len(FOREIGN) + len(BLOCKS)
    architectures = {"SPAN", "PLKSR", "Compact", "SAFMN", "RealCUGAN", "RCAN"}
    assert {name.partition(",")[0] for name in FOREIGN} == architectures


def test_command_writes_the_table_and_its_figures(tmp_path: Path) -> None:
    figures, text = tmp_path / "folding.json", tmp_path / "folding.md"
    options = ["--only", "sesr", "--seconds", "0", "--json", str(figures), "--markdown", str(text)]
    assert run(app, "folding", options) == 0
    (row,) = json.loads(figures.read_text())["rows"]
    assert row["name"] == "sesr"
    assert row["before"]["nodes"] > row["after"]["nodes"]
    assert f"| sesr | {row['before']['nodes']} → {row['after']['nodes']} |" in text.read_text()


def test_unknown_name_is_an_error_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, "folding", ["--only", "alexnet"]) == 2
    assert "alexnet; expected one of: RepSR-M4C16 x2; " in capsys.readouterr().err
