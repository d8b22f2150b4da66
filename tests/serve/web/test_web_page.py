"""The page in a real Chromium, against the real service: from the file to the download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from repsr_deploy.imaging.image_file import read_image
from repsr_deploy.imaging.upscaler import Upscaler
from tests.serve.web.web_page import TIMES, WebPage

AROUND = 34
"""Pixels on either side of the divider that its handle and its shadow cover."""
Pixels = NDArray[np.uint8]


def actions(page: WebPage) -> ActionChains:
    return ActionChains(page.driver, duration=0)


@pytest.fixture(scope="session")
def enlarged(photograph: Pixels) -> Pixels:
    """What the command line makes of the photograph."""
    return np.asarray(Upscaler("photo-x2", runtime="onnxruntime", threads=1).upscale(photograph), np.uint8)


def halves(page: WebPage) -> tuple[Pixels, Pixels, int, tuple[int, int]]:
    """(left of the divider, right of it, divider's column, (top, left) of the picture) within the picture's area."""
    left, top, right, bottom = page.box("after")
    stage_left, stage_top, stage_right, stage_bottom = page.box("stage")
    shot = page.screenshot()[max(top, stage_top) : min(bottom, stage_bottom)]
    at, (handle_left, _, handle_right, _) = (max(left, stage_left), min(right, stage_right)), page.box("divider")
    column = (handle_left + handle_right) // 2
    corner = (max(top, stage_top) - top, at[0] - left)
    return shot[:, at[0] : column - AROUND], shot[:, column + AROUND : at[1]], column + AROUND - left, corner


def test_shows_the_right_pixels_at_the_right_place(
    page: WebPage, file: Path, photograph: Pixels, enlarged: Pixels
) -> None:
    page.enlarge(file)
    assert page.divider == 50
    page.press("1")
    page.at("pixels").click()
    assert page.zoom == 100
    before, after, start, (y, x) = halves(page)
    y0 = 60  # below the names of the halves
    nearest = photograph.repeat(2, axis=0).repeat(2, axis=1)
    assert after.shape[1] > 100
    np.testing.assert_array_equal(
        after[y0:-1], enlarged[y + y0 : y + after.shape[0] - 1, start : start + after.shape[1]]
    )
    np.testing.assert_array_equal(before[y0:-1], nearest[y + y0 : y + before.shape[0] - 1, x : x + before.shape[1]])
    page.at("pixels").click()
    smooth = halves(page)[0]
    assert not np.array_equal(smooth, before)
    assert np.abs(smooth.astype(int) - before).mean() < 12
    assert f"160 {TIMES} 119 → 320 {TIMES} 238 pixels" in page.text("facts")
    assert page.text("maker") == f"photo-x2 · 2{TIMES}"


def test_divider_moves_by_mouse(page: WebPage, file: Path, enlarged: Pixels) -> None:
    page.enlarge(file)
    left, _, right, _ = page.box("after")
    for target in (30, 75):
        goal = left + (right - left) * target // 100
        at_left, _, at_right, _ = page.box("divider")
        actions(page).drag_and_drop_by_offset(page.at("divider"), goal - (at_left + at_right) // 2, 0).perform()
        assert abs(page.divider - target) <= 1
    stage = page.at("stage")
    actions(page).move_to_element(stage).click_and_hold().move_by_offset(-90, 0).release().perform()
    assert 25 < page.divider < 50  # anywhere, while there is nothing to pan
    actions(page).move_to_element_with_offset(stage, 150, 40).click().perform()
    assert 25 < page.divider < 50  # a click is no drag


def test_divider_moves_by_keyboard(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    assert page.focused == "divider"
    steps = {
        Keys.ARROW_LEFT: 48, Keys.ARROW_RIGHT: 50, Keys.ARROW_UP: 52, Keys.ARROW_DOWN: 50, Keys.PAGE_UP: 60,
        Keys.PAGE_DOWN: 50, Keys.HOME: 0, Keys.END: 100,
    }  # fmt: skip
    for key, expected in steps.items():
        page.press(key)
        assert page.divider == expected
    assert page.at("divider").get_attribute("aria-valuetext") == "100 % original, 0 % result"
    page.press(Keys.ARROW_RIGHT)
    assert page.divider == 100


def test_zoom_by_keys_buttons_wheel_and_double_click(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    whole = page.zoom
    for action, expected in (
        (lambda: page.press("1"), 100),
        (lambda: page.press("+"), 200),
        (lambda: page.at("larger").click(), 400),
        (lambda: page.at("smaller").click(), 200),
        (lambda: page.press("-"), 100),
        (lambda: page.press("-"), 100),
        (lambda: page.at("fit").click(), whole),
        (lambda: page.at("exact").click(), 100),
        (lambda: page.press("0"), whole),
    ):
        action()
        assert page.zoom == expected
    stage = page.at("stage")
    origin = ScrollOrigin.from_element(stage, 100, 50)
    actions(page).scroll_from_origin(origin, 0, -300).perform()
    page.wait_until(lambda: page.zoom > whole * 1.5)
    actions(page).move_to_element_with_offset(stage, 100, 60).double_click().perform()
    assert page.zoom == whole
    actions(page).double_click().perform()
    assert page.zoom > whole


def test_zoom_keeps_what_is_under_the_pointer_and_pan_moves_it(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    stage_left, stage_top, _, _ = page.box("stage")
    point = (stage_left + 200, stage_top + 150)

    page.press("+", "+")

    def under() -> tuple[float, float]:
        left, top, right, bottom = page.box("after")
        return (point[0] - left) / (right - left), (point[1] - top) / (bottom - top)

    before = under()
    actions(page).scroll_from_origin(ScrollOrigin.from_viewport(*point), 0, -300).perform()
    page.wait_until(lambda: page.zoom > 600)
    np.testing.assert_allclose(under(), before, atol=0.004)
    left, top, *_ = page.box("after")
    actions(page).move_to_element_with_offset(page.at("stage"), 120, 90).click_and_hold().move_by_offset(
        -37, -21
    ).release().perform()
    assert page.box("after")[:2] == (left - 37, top - 21)
    page.run("document.getElementById('stage').focus()")
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.box("after")[:2] == (left - 97, top - 81)
    assert page.divider == 50
    page.press("-")
    for _ in range(3):
        actions(page).move_to_element_with_offset(page.at("stage"), -100, -80).click_and_hold().move_by_offset(
            400, 200
        ).release().perform()
    assert page.box("after")[:2] == (stage_left, stage_top)  # no gap beside the picture


def test_two_fingers_zoom_and_move(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    page.press("+", "+")
    left, top, *_ = page.box("stage")
    before, zoom = page.box("after"), page.zoom

    def touch(kind: str, *points: tuple[int, int]) -> None:
        at = [{"x": left + x, "y": top + y, "id": i} for i, (x, y) in enumerate(points)]
        page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (200, 150), (300, 150))
    for step in range(1, 11):  # apart to twice the distance, both 20 pixels down
        touch("touchMove", (200 - 5 * step, 150 + 2 * step), (300 + 5 * step, 150 + 2 * step))
    touch("touchEnd")
    assert abs(page.zoom - 2 * zoom) <= 2
    moved = page.box("after")
    middle = left + 250
    assert abs((middle - moved[0]) - 2 * (middle - before[0])) <= 12
    assert abs((top + 170 - moved[1]) - 2 * (top + 150 - before[1])) <= 12
    assert page.divider == 50


def test_download_is_what_the_command_line_makes(page: WebPage, file: Path, tmp_path: Path, enlarged: Pixels) -> None:
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.enlarge(file)
    page.at("download").click()
    saved = tmp_path / "astronaut-x2.png"
    page.wait_until(saved.exists)
    np.testing.assert_array_equal(read_image(saved), enlarged)


def test_settings_change_what_is_made(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    assert not page.at("again").is_displayed()
    Select(page.at("model")).select_by_value("photo-x4")
    assert page.at("scale").get_property("value") == "4"
    page.at("again").click()
    page.wait_until(lambda: page.state == "done" and page.text("maker") == f"photo-x4 · 4{TIMES}")
    assert f"640 {TIMES} 476 pixels" in page.text("facts")
    assert page.focused == "divider"
    page.at("scale").clear()
    page.at("scale").send_keys("1.5")
    Select(page.at("format")).select_by_value("jpeg")
    page.press(Keys.TAB)
    page.at("scale").send_keys(Keys.ENTER)
    page.wait_until(lambda: page.state == "done" and page.text("maker") == f"photo-x4 · 1.5{TIMES}")
    assert page.at("download").get_attribute("download") == "astronaut-x1.5.jpg"
    assert "JPEG" in page.text("facts")
    Select(page.at("format")).select_by_value("png")
    assert not page.at("quality").is_enabled()
    page.open(page.driver.current_url)
    assert page.at("model").get_property("value") == "photo-x4"  # as chosen last time


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_drop_and_paste(page: WebPage, file: Path, kind: str) -> None:
    page.bring(kind, file)
    page.finish()
    assert page.state == "done"
    old = page.at("download").get_attribute("href")
    page.bring(kind, file)  # another one: the first is given back
    page.finish()
    assert page.state == "done"
    assert page.at("download").get_attribute("href") != old
    gone = """
    const [url, finish] = arguments, image = new Image();
    [image.onload, image.onerror] = [() => finish("there"), () => finish("gone")];
    image.src = url;
    """
    assert page.driver.execute_async_script(gone, old) == "gone"


def test_job_is_deleted_when_the_result_is_here(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    requested: list[tuple[str, str]] = []

    def deleted() -> bool:
        requested.extend(page.requested())
        return any(method == "DELETE" for method, _ in requested)

    page.wait_until(deleted)
    (url,) = (url for method, url in requested if method == "DELETE")
    status = "const [url, finish] = arguments; fetch(url).then((answer) => finish(answer.status))"
    page.wait_until(lambda: page.driver.execute_async_script(status, url) == 410)


def test_result_that_no_browser_could_show_can_be_downloaded(page: WebPage, file: Path) -> None:
    page.run(
        """
        const {get} = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "naturalWidth");
        const claimed = function () { return get.call(this) === 320 ? 1e6 : get.call(this); };
        Object.defineProperty(HTMLImageElement.prototype, "naturalWidth", {get: claimed});
        """
    )
    page.enlarge(file)
    assert page.at("unseen").is_displayed()
    assert not page.at("stage").is_displayed()
    assert not page.at("tools").is_displayed()
    assert page.focused == "download"
    Select(page.at("model")).select_by_value("photo-x4")
    page.at("again").click()
    page.wait_until(lambda: page.state == "done" and page.at("stage").is_displayed())
    assert not page.at("unseen").is_displayed()


def test_result_comes_in_from_the_right(page: WebPage, file: Path) -> None:
    page.emulate(motion="no-preference")
    page.enlarge(file)
    seen = [page.divider]
    page.wait_until(lambda: seen.append(page.divider) or seen[-1] == 50)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > 50


def test_pixels_are_exact_on_screens_with_more_dots(page: WebPage, file: Path, enlarged: Pixels) -> None:
    page.emulate(dots=2)
    page.enlarge(file)
    page.press("1", Keys.HOME)
    assert page.zoom == 100
    left, top, right, bottom = page.box("after")
    assert (right - left, bottom - top) == (320, 238)
    shown = page.screenshot()[top:bottom, left:right]
    np.testing.assert_array_equal(shown[60:, 60:-60], enlarged[60:, 60:-60])
