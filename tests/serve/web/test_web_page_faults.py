"""What the page does when something goes wrong, or is not wanted any more."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import skimage.data
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.serve.conftest import serving
from tests.serve.web.faulty_proxy import FaultyProxy, faulty_proxy
from tests.serve.web.web_page import TIMES, WebPage

BUSY = json.dumps({"type": "urn:repsr:problem:overloaded", "status": 503, "detail": "Too many pictures."}).encode()
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def proxy(page: WebPage, served: str) -> Generator[FaultyProxy]:
    """A faulty way to the service; the page comes through it."""
    with faulty_proxy(served) as proxy:
        page.open(proxy.url)
        yield proxy
        page.driver.get(served)
        page.requested()


def test_no_picture(page: WebPage, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture\n")
    page.choose(text)
    page.finish()
    assert page.state == "failed"
    assert page.at("problem").get_attribute("role") == "alert"
    assert page.text("problem").startswith("This is no picture that can be read\n")
    assert "PNG" in page.text("problem")
    assert not page.at("retry").is_displayed()  # only another picture helps
    assert page.focused == "file"


def test_damaged_picture_then_a_good_one(page: WebPage, file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    page.choose(cut)
    page.finish()
    assert page.state == "failed"
    assert len(page.text("problem")) > 60
    page.enlarge(file)
    assert page.text("problem") == ""


def test_too_large_is_said_before_it_is_sent(page: WebPage, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    page.requested()
    page.choose(large)
    page.finish()
    assert page.text("problem") == "The file is too large\nIt has 67 MB; this server takes 67 MB at most."
    assert [url for method, url in page.requested() if method == "POST"] == []


def test_impossible_scale_can_be_corrected(page: WebPage, file: Path) -> None:
    page.at("scale").clear()
    page.at("scale").send_keys("99")
    page.choose(file)
    page.finish()
    assert page.state == "failed"
    assert "99" in page.text("problem")
    page.at("scale").clear()
    page.at("scale").send_keys("3", Keys.ENTER)
    page.wait_until(lambda: page.state == "done")
    assert page.text("maker") == f"photo-x2 · 3{TIMES}"


@pytest.fixture
def job(page: WebPage, tmp_path: Path) -> str:
    """Address of a job that is under way, and would be for a while."""
    large = tmp_path / "large.jpg"
    cv2.imwrite(str(large), np.tile(skimage.data.astronaut(), (7, 7, 1)))
    page.requested()
    page.choose(large)
    page.wait_until(lambda: page.text("doing").startswith("Enlarging"))
    looks = [url for method, url in page.requested() if method == "GET" and "/v1/jobs/" in url]
    return looks[0].partition("?")[0]


def is_cancelled(job: str) -> bool:
    return httpx.get(job).json()["state"] == "cancelled"


def test_cancel_stops_the_work_on_the_server(page: WebPage, job: str) -> None:
    assert page.focused == "cancel"
    page.press(Keys.ENTER)
    page.wait_until(lambda: page.state == "empty")
    assert page.focused == "file"
    assert page.at("status").get_property("textContent") == "Cancelled"
    page.wait_until(lambda: is_cancelled(job))


def test_another_picture_replaces_the_one_under_way(page: WebPage, job: str, file: Path) -> None:
    page.bring("drop", file)
    page.finish()
    assert page.at("download").get_attribute("download") == "astronaut-x2.png"
    assert is_cancelled(job)


def test_leaving_the_page_stops_the_work_on_the_server(page: WebPage, job: str, served: str) -> None:
    page.driver.get(f"{served}/healthz")
    page.wait_until(lambda: is_cancelled(job))


def test_busy_server_is_asked_again(page: WebPage, proxy: FaultyProxy, file: Path) -> None:
    proxy.faults.append(("POST", 503, {"Retry-After": "1"}, BUSY))
    said: list[str] = []
    page.choose(file)
    page.wait_until(lambda: said.append(page.text("doing")) or page.state == "done")
    assert "The server is busy · trying again in 1 s" in said
    assert not proxy.faults


def test_server_that_stays_busy_is_not_asked_for_ever(page: WebPage, proxy: FaultyProxy, file: Path) -> None:
    proxy.faults.extend([("POST", 503, {"Retry-After": "0"}, BUSY)] * 5)
    page.choose(file)
    page.finish()
    assert page.text("problem") == "The server is busy\nToo many pictures."
    assert page.focused == "retry"
    page.press(Keys.ENTER)
    page.wait_until(lambda: page.state == "done")


def test_broken_connection(page: WebPage, proxy: FaultyProxy, file: Path) -> None:
    proxy.faults.append(("POST", 0, {}, b""))
    page.choose(file)
    page.finish()
    assert page.text("problem").startswith("The server cannot be reached\n")
    proxy.faults.append(("POST", 502, {}, b"<html>bad gateway</html>"))
    page.at("retry").click()
    page.wait_until(lambda: "502" in page.text("problem"))
    page.at("retry").click()
    page.wait_until(lambda: page.state == "done")


@pytest.mark.parametrize("cut", [0, 502])
def test_looking_at_a_job_survives_a_broken_connection(page: WebPage, proxy: FaultyProxy, file: Path, cut: int) -> None:
    proxy.faults.extend([("POST", 202, {}, b'{"id": "0", "state": "waiting", "position": 3}'), ("GET", cut, {}, b"")])
    page.choose(file)
    page.wait_until(lambda: page.text("doing") == "Waiting for its turn · 2 before it")
    page.finish()  # asked again, the service says that it knows no such job
    assert page.text("problem").startswith("Not found\n")


def test_key_is_asked_for_by_the_browser(driver: Chrome, file: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    keys.chmod(0o600)
    page = WebPage(driver)
    with serving(tmp_path, api_key_file=keys, model="photo-x2") as server:
        page.open(server.url.replace("//", f"//anybody:{KEY}@"))
        page.enlarge(file)
        driver.get("about:blank")
    assert page.complaints() == []
    page.requested()
