"""The page's pure functions, in the browser that runs them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.serve.web.web_page import WebPage

RNG = np.random.default_rng(7)
CASES = 300


def call(page: WebPage, module: str, body: str, argument: object = None) -> Any:
    """What a function's body returns, with a module as `m` and an argument as `given`."""
    script = f"""
    const [url, given, finish] = arguments;
    import(url).then((m) => {{ {body} }})
      .then((found) => finish({{found}}), (error) => finish({{error: String(error)}}));
    """
    address = page.run("return new URL(arguments[0], location).href", f"assets/{module}.js")
    answer = page.driver.execute_async_script(script, address, argument)
    assert "error" not in answer, answer
    return answer["found"]


def test_words(page: WebPage) -> None:
    expected = {
        "m.bytes(999)": "999 B",
        "m.bytes(1000)": "1.0 kB",
        "m.bytes(9949)": "9.9 kB",
        "m.bytes(9951)": "10 kB",
        "m.bytes(999499)": "999 kB",
        "m.bytes(999501)": "1.0 MB",
        "m.bytes(3.2e12)": "3200 GB",
        "m.seconds(0.04)": "0.0 s",
        "m.seconds(9.96)": "10 s",
        "m.seconds(59.6)": "1 min 0 s",
        "m.seconds(125)": "2 min 5 s",
        "m.factor(2)": "2",
        "m.factor('1.50')": "1.5",
        "m.factor(4 / 3)": "1.333",
        "m.percent(0.996)": "100 %",
        "m.megapixels(100000000)": "100 megapixels",
        "m.resultName('a.b.jpeg', 2, 'image/png')": "a.b-x2.png",
        "m.resultName('photo', 1.5, 'image/webp')": "photo-x1.5.webp",
        "m.resultName('', 4, 'image/jpeg')": "picture-x4.jpg",
        "m.resultName('.png', 4, 'image/jpeg')": "picture-x4.jpg",
    }
    assert (
        call(page, "words", f"return {{{', '.join(f'{json.dumps(each)}: {each}' for each in expected)}}}") == expected
    )


def boxes(low: float, high: float) -> list[dict[str, int]]:
    """Random {width, height}, every order of magnitude as often."""
    sides = np.exp(RNG.uniform(np.log(low), np.log(high), (CASES, 2))).round().astype(int).tolist()
    return [{"width": width, "height": height} for width, height in sides]


def test_whole_picture_is_fitted(page: WebPage) -> None:
    cases = list(zip(boxes(100, 4000), boxes(1, 60000), strict=True))
    views = call(page, "geometry", "return given.map(([stage, picture]) => m.fitted(stage, picture))", cases)
    for (stage, picture), view in zip(cases, views, strict=True):
        gaps = [stage[side] - picture[side] * view["zoom"] for side in ("width", "height")]
        assert min(gaps) > -1e-6
        assert min(gaps) < 1e-6 or view["zoom"] == 16  # as large as it can be
        assert np.abs(np.array([view["x"], view["y"]]) - np.array(gaps) / 2).max() <= 0.5 + 1e-6


def test_point_stays_where_it_is_when_zoomed(page: WebPage) -> None:
    views, zooms, points = (
        RNG.uniform(-900, 900, (CASES, 2)),
        RNG.uniform(0.01, 16, (CASES, 2)),
        RNG.uniform(0, 2000, (CASES, 2)),
    )
    cases = np.concatenate([views, zooms, points], axis=1).tolist()
    body = "return given.map(([x, y, from, to, px, py]) => m.zoomed({zoom: from, x, y}, to, {x: px, y: py}))"
    for (x, y, before, after, px, py), view in zip(cases, call(page, "geometry", body, cases), strict=True):
        assert view["zoom"] == after
        np.testing.assert_allclose(
            [(px - view["x"]) / after, (py - view["y"]) / after], [(px - x) / before, (py - y) / before]
        )


@pytest.mark.parametrize(("side", "start"), [("width", "x"), ("height", "y")])
def test_no_view_wastes_room(page: WebPage, side: str, start: str) -> None:
    views = RNG.uniform(-5000, 5000, (CASES, 2)).tolist()
    zooms = np.exp(RNG.uniform(-6, 4, CASES)).tolist()
    asked = [{"zoom": zoom, "x": x, "y": y} for zoom, (x, y) in zip(zooms, views, strict=True)]
    cases = list(zip(asked, boxes(100, 4000), boxes(1, 60000), strict=True))
    body = """
    return given.map(([view, ...boxes]) => {
      const held = m.held(view, ...boxes);
      return [held, m.leastZoom(...boxes), m.covered(held, ...boxes)];
    });
    """
    for (_, stage, picture), (view, least, covered) in zip(cases, call(page, "geometry", body, cases), strict=True):
        room, length = stage[side], picture[side] * view["zoom"]
        assert least <= view["zoom"] <= 16
        if length <= room:
            assert abs(view[start] - (room - length) / 2) <= 0.5 + 1e-6
        else:
            assert room - length - 0.5 <= view[start] <= 0
        assert view[start] == round(view[start])
        if side == "width":
            assert 0 <= covered[0] <= covered[1] <= room
    kept = call(
        page, "geometry", "return m.held({zoom: 2, x: -30, y: -40}, {width: 100, height: 80}, {width: 200, height: 90})"
    )
    assert kept == {"zoom": 2, "x": -30, "y": -40}


def test_zoom_buttons_go_by_powers_of_two(page: WebPage) -> None:
    zooms = [*np.exp(RNG.uniform(-5, 2.5, CASES)).tolist(), 0.25, 0.5, 1, 2, 4]
    for zoom, (more, less) in zip(
        zooms,
        call(page, "geometry", "return given.map((zoom) => [m.nextZoom(zoom, 1), m.nextZoom(zoom, -1)])", zooms),
        strict=True,
    ):
        assert less < zoom < more
        assert np.log2([less, more]).round().tolist() == np.log2([less, more]).tolist()
        assert more / less <= 4
