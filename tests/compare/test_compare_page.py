"""The page of a comparison in a real browser, opened from a disk."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from repsr_deploy.compare import write_comparison
from repsr_deploy.metrics.resize import imresize
from tests.browser import browser
from tests.serve.web.test_web_page_access import CONTRAST
from tests.serve.web.web_page import WebPage

AFTER: Any = np.ascontiguousarray(skimage.data.astronaut()[20:260, 100:420])
BEFORE: Any = imresize(AFTER, 0.5)
NAME = "<script>document.title='taken'</script> a&b \N{GRINNING FACE}.png"
Open = Callable[..., WebPage]


@pytest.fixture(scope="module")
def driver() -> Generator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture
def open_page(driver: Chrome, tmp_path: Path) -> Generator[Open]:
    """Opens a page; afterwards, nothing was complained about, and nothing but the page was asked for."""
    page = WebPage(driver)
    page.complaints()
    page.requested()

    def opened(before: Any = BEFORE, after: Any = AFTER, **wishes: Any) -> WebPage:
        page.emulate(**wishes)
        file = write_comparison(before, after, tmp_path / "a?b#c%20.png", title=NAME, model="photo-x2")[0]
        driver.get(file.as_uri())
        page.wait_until(lambda: page.run("return [...document.images].every((image) => image.complete)"))
        page.wait_until(lambda: page.text("zoom"))
        return page

    yield opened
    assert page.complaints() == []
    assert {url.partition(":")[0] for _, url in page.requested()} <= {"file", "data"}


def stage(page: WebPage) -> Any:
    """The stage as it is seen, H x W x 3."""
    left, top, right, bottom = page.box("stage")
    return page.screenshot()[top:bottom, left:right]


def middle(shot: Any, height: int, width: int) -> Any:
    """The middle of what is seen, away from the border and its labels."""
    top, left = (shot.shape[0] - height) // 2, (shot.shape[1] - width) // 2
    return shot[top : top + height, left : left + width]


def percent(page: WebPage) -> float:
    """What of the stage is original, by the slider."""
    return float(page.at("part").get_attribute("value") or "")


def test_slider_shows_both_pictures_at_one_place(open_page: Open) -> None:
    page = open_page()
    page.press("1")
    page.at("part").send_keys(Keys.HOME)
    assert page.zoom == 100
    rows, columns = slice(60, 180), slice(40, 280)  # the slider's handle is at the side, labels are above
    seen = middle(stage(page), *AFTER.shape[:2])
    np.testing.assert_array_equal(seen[rows, columns], AFTER[rows, columns])
    page.at("pixels").click()
    page.at("part").send_keys(Keys.END)
    seen = middle(stage(page), *AFTER.shape[:2])
    squares = BEFORE.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(seen[rows, columns], squares[rows, columns])


def test_slider_and_divider_are_one(open_page: Open) -> None:
    page = open_page()
    assert percent(page) == 50
    slider = page.at("part")
    slider.send_keys(Keys.ARROW_LEFT * 10)
    assert percent(page) == 40
    assert slider.get_attribute("aria-valuetext") == "40 % original, 60 % result"
    left, _, right, _ = page.box("divider")
    stage_left, _, stage_right, _ = page.box("stage")
    shown = min(stage_right - stage_left, page.box("after")[2] - page.box("after")[0])
    start = max(stage_left, page.box("after")[0])
    assert (left + right) / 2 == pytest.approx(start + 0.4 * shown, abs=1.5)
    handle = page.at("divider")
    ActionChains(page.driver, duration=0).click_and_hold(handle).move_by_offset(100, 0).release().perform()
    assert percent(page) == pytest.approx(40 + 100 * 100 / shown, abs=1)


def test_keys_and_buttons_zoom(open_page: Open) -> None:
    page = open_page()
    fitted = page.zoom
    page.press("1")
    assert page.zoom == 100
    page.press("4")
    assert page.zoom == 400
    assert page.at("pixels").is_selected()
    page.press("-")
    assert page.zoom == 200
    page.press("+")
    assert page.zoom == 400
    page.press("0")
    assert page.zoom == fitted
    for name, zoom in (("exact", 100), ("larger", 200), ("smaller", 100), ("squares", 400), ("fit", fitted)):
        page.at(name).click()
        assert page.zoom == zoom, name
    page.at("part").click()
    page.press("1")
    assert page.zoom == 100, "keys zoom wherever the focus is"


def test_pixels_are_squares_at_400_percent(open_page: Open) -> None:
    page = open_page()
    page.press("4")
    page.at("part").send_keys(Keys.HOME)
    seen = middle(stage(page), 320, 480)
    squares = AFTER.repeat(4, axis=0).repeat(4, axis=1)
    found = [
        (dy, dx)
        for dy in range(-3, 4)
        for dx in range(-3, 4)
        if np.array_equal(seen[8:-8, 8:-8], middle(np.roll(squares, (dy, dx), (0, 1)), 320, 480)[8:-8, 8:-8])
    ]
    assert len(found) == 1, "the picture's middle is the stage's, every pixel 4 x 4"


def test_wheel_zooms_where_the_pointer_is_and_drag_moves(open_page: Open) -> None:
    page = open_page()
    page.press("1")
    before = page.box("after")
    left, top, _, _ = page.box("stage")
    point = (left + 300, top + 150)
    page.driver.execute_cdp_cmd(
        "Input.dispatchMouseEvent",
        {"type": "mouseWheel", "x": point[0], "y": point[1], "deltaX": 0, "deltaY": -500},
    )
    page.wait_until(lambda: page.zoom > 200)
    grown = page.box("after")
    ratio = (grown[2] - grown[0]) / (before[2] - before[0])
    assert ratio == pytest.approx(np.exp(1), rel=0.01)
    page.press("4")
    box = page.box("after")
    ActionChains(page.driver, duration=0).move_to_element_with_offset(
        page.at("stage"), -200, 0
    ).click_and_hold().move_by_offset(60, 40).release().perform()
    moved = page.box("after")
    assert np.abs(np.subtract(moved, box) - (60, 40, 60, 40)).max() <= 1


def test_two_fingers_zoom(open_page: Open) -> None:
    page = open_page()
    page.press("1")
    left, top, right, bottom = page.box("stage")
    x, y = (left + right) // 2, (top + bottom) // 2

    def touch(kind: str, *points: tuple[int, int]) -> None:
        page.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": px, "y": py, "id": each} for each, (px, py) in enumerate(points)]},
        )

    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    try:
        page.press("+")
        touch("touchStart", (x - 40, y), (x + 40, y))
        touch("touchMove", (x - 60, y), (x + 60, y))
        touch("touchEnd")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    page.wait_until(lambda: page.zoom == pytest.approx(300, abs=2))


def test_difference_is_shown_with_its_scale(open_page: Open) -> None:
    page = open_page()
    assert not page.at("legend").is_displayed()
    shown = page.run("return document.getElementById('after').src")
    page.at("different").click()
    assert page.run("return document.getElementById('after').src") != shown
    assert page.text("maker") == "Difference"
    assert "or more" in page.text("legend")
    page.at("part").send_keys(Keys.HOME)
    assert np.median(middle(stage(page), 100, 100)) < 60, "equal is black"
    page.at("different").click()
    assert page.run("return document.getElementById('after').src") == shown
    assert page.text("maker") == "Result"


def test_transparency_is_a_checkerboard(open_page: Open) -> None:
    clear = np.zeros((100, 120, 4), np.uint8)
    page = open_page(clear[::2, ::2], clear)
    page.press("1")
    page.at("part").send_keys(Keys.HOME)
    seen = middle(stage(page), 30, 40)
    assert set(map(tuple, seen[:, :8].reshape(-1, 3).tolist())) == {(255, 255, 255), (204, 204, 204)}


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 900)])
def test_everyone_can_read_and_use_it(scheme: str, width: int, open_page: Open) -> None:
    page = open_page(scheme=scheme, width=width)
    page.at("different").click()
    contrasts = {text: contrast for text, contrast in page.run(CONTRAST) if text not in ("Original", "Difference")}
    assert min(contrasts.values()) >= 4.5, contrasts
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.at("part").accessible_name == "Original"
    assert page.at("part").aria_role == "slider"
    nameless = [each.get_attribute("id") for each in page.driver.find_elements("css selector", "button, input")]
    assert all(page.at(str(name)).accessible_name for name in nameless)
    dark = page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 22)"
    assert dark == (scheme == "dark")


def test_names_do_nothing_and_the_policy_holds(open_page: Open) -> None:
    page = open_page()
    assert page.driver.title == f"{NAME}: before and after"
    assert page.run("return document.querySelector('h1').textContent") == NAME
    broken = page.run(
        """
        const broken = [];
        document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "document.title = 'taken'";
        document.body.append(script);
        const image = new Image();
        image.src = "http://127.0.0.1:9/a.png";
        document.body.append(image);
        return new Promise((resolve) => setTimeout(() => resolve(broken), 50));
        """
    )
    assert sorted(broken) == ["img-src", "script-src-elem"]
    assert page.driver.title == f"{NAME}: before and after"
    assert len(page.complaints()) == 2
    page.requested()  # what the policy stopped is in the list as well
