"""The web page in a real browser: what a person would do and see."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

WAIT_S = 20
WIDTH, HEIGHT = 900, 640
FINISHED = ("done", "failed")
TIMES = "\N{MULTIPLICATION SIGN}"


class WebPage:
    """The page of one service in one browser."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load it, and wait for the models."""
        self.emulate()
        self.driver.get(url)
        self.wait_until(lambda: self.run("return document.getElementById('model').options.length > 0"))

    def emulate(
        self,
        *,
        width: int = WIDTH,
        height: int = HEIGHT,
        dots: float = 1,
        scheme: str = "light",
        motion: str = "reduce",
    ) -> None:
        """Window in CSS pixels, `dots` per pixel, and what the user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": dots, "mobile": False}
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript, return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Until it is true."""
        WebDriverWait(self.driver, WAIT_S, poll_frequency=0.03).until(lambda _: condition())

    # ---- what people do ----

    def choose(self, file: Path) -> None:
        """With the file chooser."""
        self.at("file").send_keys(str(file))

    def bring(self, kind: str, file: Path) -> None:
        """Drop or paste a file: the event that the browser makes of it."""
        self.run(
            """
            const [kind, name, content] = arguments;
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
            const event = kind === "drop" ? new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true})
                                          : new ClipboardEvent(kind, {clipboardData: data, bubbles: true});
            document.getElementById("order").dispatchEvent(event);
            """,
            *(kind, file.name, base64.b64encode(file.read_bytes()).decode()),
        )

    def enlarge(self, file: Path) -> None:
        """Choose a picture, and wait until the result is seen."""
        self.choose(file)
        self.finish()
        assert self.state == "done", self.text("problem")

    def finish(self) -> None:
        """Wait until nothing is under way."""
        self.wait_until(lambda: self.state in FINISHED)
        self.wait_until(lambda: self.run("return [...document.images].every((image) => image.complete)"))

    def press(self, *keys: str) -> None:
        """Keys, wherever the focus is."""
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    # ---- what is seen ----

    def at(self, name: str) -> WebElement:
        """The element with an id."""
        return self.driver.find_element(By.ID, name)

    def text(self, name: str) -> str:
        """What an element says."""
        return self.at(name).text

    @property
    def state(self) -> str:
        """`empty`, `working`, `done` or `failed`."""
        return self.run("return document.body.dataset.state")

    @property
    def focused(self) -> str:
        """Id of what has the focus."""
        return self.run("return document.activeElement.id")

    @property
    def divider(self) -> int:
        """Percent of what is seen that is original."""
        return int(self.at("divider").get_attribute("aria-valuenow") or "")

    @property
    def zoom(self) -> int:
        """Percent."""
        return int(self.text("zoom").removesuffix(" %"))

    def box(self, name: str) -> tuple[int, int, int, int]:
        """An element's (left, top, right, bottom) in the window, device pixels."""
        box = self.run("return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", name)
        dots = self.run("return devicePixelRatio")
        left, top, right, bottom = (int(box[side] * dots + 0.5) for side in ("left", "top", "right", "bottom"))
        return left, top, right, bottom

    def screenshot(self) -> NDArray[np.uint8]:
        """The window, H x W x 3, RGB."""
        shot = cv2.imdecode(np.frombuffer(self.driver.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
        assert shot is not None
        return np.asarray(shot[..., ::-1], np.uint8)

    def complaints(self) -> list[str]:
        """What stands on the console since last time, but for answers that are no success."""
        return [line["message"] for line in self.driver.get_log("browser") if line["source"] != "network"]

    def requested(self) -> list[tuple[str, str]]:
        """Every (method, URL) that was requested since last time."""
        messages = (json.loads(line["message"])["message"] for line in self.driver.get_log("performance"))
        sent = [
            message["params"]["request"] for message in messages if message["method"] == "Network.requestWillBeSent"
        ]
        return [(request["method"], request["url"]) for request in sent]
