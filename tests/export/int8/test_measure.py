"""What is measured, and what counts as a colour that stayed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repsr_deploy.export.int8 import images
from repsr_deploy.export.int8.measure import Score, colour_errors, colours_hold, drop_db, likeness_db

FAITHFUL = {name: np.array(colour, np.float64) for name, colour in images.COLOURS.items()}


def score(psnr_y: float = 30.0, **colours: tuple[float, float, float]) -> Score:
    changed = {name: np.array(colour) for name, colour in colours.items()}
    return Score(psnr_y=psnr_y, colours=FAITHFUL | changed, pictures={})


@pytest.mark.parametrize(
    ("after", "holds"),
    [
        (score(), True),
        (score(white=(254.0, 253.6, 255.0)), True),
        (score(white=(255.0, 253.4, 255.0)), False),
        (score(gray=(126.4, 128.0, 128.0)), False),
        (score(black=(0.0, 0.0, 2.0)), False),
    ],
)
def test_a_colour_may_change_by_one_level(after: Score, holds: bool) -> None:
    assert colours_hold(score(), after) is holds


def test_a_network_that_changes_a_colour_may_change_that_one_as_much() -> None:
    before = score(green=(4.0, 250.0, 0.0))
    assert colours_hold(before, score(green=(0.0, 254.0, 4.0)))
    assert not colours_hold(before, score(green=(9.5, 250.0, 0.0)))
    assert not colours_hold(before, score(green=(4.0, 250.0, 0.0), red=(255.0, 2.0, 0.0)))


def test_errors_are_those_of_the_worst_channel() -> None:
    errors = colour_errors(score(), score(red=(250.0, 3.0, 0.0)))
    assert errors["red"] == 5
    assert errors["white"] == 0


def test_drops_of_perfect_pictures_are_numbers() -> None:
    assert drop_db(score(math.inf), score(math.inf)) == 0
    assert drop_db(score(math.inf), score(50.0)) == math.inf
    assert drop_db(score(30.0), score(29.75)) == 0.25


def test_likeness_is_psnr() -> None:
    picture = np.full((8, 8, 3), 100, np.uint8)
    before = Score(psnr_y=0, colours={}, pictures={"same": picture, "off": picture})
    after = Score(psnr_y=0, colours={}, pictures={"same": picture, "off": picture + np.uint8(1)})
    assert likeness_db(before, after) == {"same": math.inf, "off": pytest.approx(20 * math.log10(255))}
