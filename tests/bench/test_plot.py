"""The plot is a picture with something on it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from repsr_deploy.bench.families import RUNTIME_NAMES
from repsr_deploy.bench.plot import MARKERS, RUNTIMES, draw_report
from repsr_deploy.bench.report import Report, Row
from repsr_deploy.bench.timing import Timing
from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.model_info import Precision

MACHINE = {"processor": "Chip", "cores": 2, "threads": 1, "gpus": [], "packages": {}}


def report(*, scored: bool, conditions: int = 1, models: int = 1) -> Report:
    random = np.random.default_rng(0)
    rows: list[Row] = []
    for model in range(models):
        for condition in range(conditions):
            for index, runtime in enumerate(("onnxruntime", "openvino", "pytorch")):
                for network, computes in (("folded", "fp32"), ("branches", "fp32"), ("folded", "bf16")):
                    speed = (1 + index) * (0.5 if network == "branches" else 1)
                    rows.append(
                        Row(
                            key={
                                "model": f"model {model}",
                                "network": network,
                                "runtime": runtime,
                                "file": "fp32",
                                "computes": computes,
                                "input": f"{condition}x1",
                                "batch": "1",
                            },
                            timing=Timing(tuple((random.random(9) / speed).tolist())),
                            figures={"megapixels_per_s": 10 * speed, "psnr_y_db": 33.0 if scored else None},
                        )
                    )
    return Report(
        command="throughput", arguments="", created="", machine=MACHINE, rows=rows, settings={"hr": "2 pictures"}
    )


def colours(path: Path) -> set[tuple[int, int, int]]:
    """The colours that cover more than a few pixels."""
    picture = read_image(path)[..., :3].reshape(-1, 3)
    found, counts = np.unique(picture, axis=0, return_counts=True)
    return {tuple(colour.tolist()) for colour, count in zip(found, counts, strict=True) if count > 200}


@pytest.mark.parametrize("scored", [False, True])
def test_runtimes_have_their_colours(tmp_path: Path, scored: bool) -> None:
    path = tmp_path / "speed.png"
    draw_report(path, report(scored=scored))
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert {(0, 0x72, 0xB2), (0, 0x9E, 0x73), (0xD5, 0x5E, 0), (255, 255, 255)} <= colours(path)


def test_panels_are_added_beside_and_below(tmp_path: Path) -> None:
    sizes: list[tuple[int, ...]] = []
    for options in ({}, {"conditions": 2}, {"conditions": 9}, {"models": 2}):
        draw_report(tmp_path / "speed.png", report(scored=False, **options))
        sizes.append(read_image(tmp_path / "speed.png").shape[:2])
    one, two, nine, below = sizes
    assert (two[0], below[1]) == (one[0], one[1])
    assert one[1] < two[1] < nine[1] < 3 * one[1]
    assert below[0] > one[0]


def test_nothing_to_draw(tmp_path: Path) -> None:
    empty = Report(
        command="throughput", arguments="", created="", machine=MACHINE, rows=[Row(key={"model": "m"}, failure="no")]
    )
    with pytest.raises(UsageError, match="no row has a speed"):
        draw_report(tmp_path / "speed.png", empty)
    assert not (tmp_path / "speed.png").exists()


def test_every_runtime_has_a_colour_of_its_own() -> None:
    assert set(RUNTIMES) == set(RUNTIME_NAMES)
    assert len({colour for _, colour in RUNTIMES.values()}) == len(RUNTIMES)
    assert set(MARKERS) == set(get_args(Precision))
