"""One real Chromium for all tests of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.serve.web.web_page import WebPage

SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # which does not work for root in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Generator[webdriver.Chrome]:
    """The browser, or a visible skip where there is none; in CI there has to be one."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        missing = "no chromium and chromedriver in PATH; install them to test the web page"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, served: str) -> Generator[WebPage]:
    """The page, just loaded; afterwards, nothing on the console and no request elsewhere."""
    page = WebPage(driver)
    page.complaints()
    page.requested()
    page.open(served)
    yield page
    page.run("localStorage.clear()")
    assert page.complaints() == []
    outside = [url for _, url in page.requested() if not url.startswith((f"{served}/", f"blob:{served}/"))]
    assert outside == []


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """A real photograph, small: 119 x 160 pixels, RGB."""
    return np.ascontiguousarray(skimage.data.astronaut()[20:139, 150:310])


@pytest.fixture
def file(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    """The photograph as PNG."""
    path = tmp_path / "astronaut.png"
    cv2.imwrite(str(path), cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
    return path
