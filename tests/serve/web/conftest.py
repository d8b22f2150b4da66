"""One real Chromium for all tests of the page."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from selenium import webdriver

from tests.browser import browser
from tests.serve.web.web_page import WebPage


@pytest.fixture(scope="session")
def driver() -> Generator[webdriver.Chrome]:
    """The browser."""
    with browser() as driver:
        yield driver


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
