"""Everybody can use the page: by keyboard, by ear, in light and dark, on small screens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.serve.web.web_page import WebPage

CONTRAST = """
const channels = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
  return {rgb: [r, g, b], a};
};
const luminance = (rgb) => rgb.map((value) => value / 255)
  .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const {rgb, a} = channels(getComputedStyle(at).backgroundColor);
    if (a === 1) return rgb;
    if (a > 0) return rgb.map((value) => value * a + 255 * (1 - a));  // on white, the worst for light text
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walker.nextNode()); ) {
  const element = node.parentElement, text = node.textContent.trim();
  if (!text || !element.checkVisibility() || element.closest("[aria-disabled=true], .spoken, noscript")) continue;
  const [one, other] = [luminance(channels(getComputedStyle(element).color).rgb), luminance(ground(element))];
  found.push([text, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
}
return found;
"""
"""WCAG 2.2, 1.4.3: [text, contrast with what it stands on] of all text that is seen."""
TABBABLE = """
const all = [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex]")];
return all.filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0).map((each) => each.id);
"""

OVERLAPS = """
const all = [...document.querySelectorAll("button, select, input, a, output, label, p, h1, h2, progress, #stage")];
const seen = all.filter((each) => each.checkVisibility() && !each.matches(".spoken, #file"));
const cross = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;
const found = [];
seen.forEach((one, i) => seen.slice(i + 1).forEach((other) => {
  const apart = !one.contains(other) && !other.contains(one);
  if (apart && cross(one.getBoundingClientRect(), other.getBoundingClientRect())) found.push([one.id, other.id]);
}));
return found;
"""
"""Pairs of what is seen that lie on each other."""
RING = """
const at = document.activeElement, shown = [at, at.parentElement, at.querySelector("svg")].filter(Boolean);
return shown.some((each) => getComputedStyle(each).outlineStyle === "solid");
"""


def seen_states(page: WebPage, file: Path) -> dict[str, Any]:
    """What `CONTRAST` finds before, after a failure and after a success."""
    text = file.with_name("notes.txt")
    text.write_text("no picture")
    found = {"empty": page.run(CONTRAST)}
    page.choose(text)
    page.finish()
    found["failed"] = page.run(CONTRAST)
    page.enlarge(file)
    page.at("scale").send_keys("0")
    found["done"] = page.run(CONTRAST)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: WebPage, file: Path, scheme: str) -> None:
    page.emulate(scheme=scheme)
    lightness = page.screenshot()[2, 2].mean()
    assert lightness > 230 if scheme == "light" else lightness < 30
    for state, texts in seen_states(page, file).items():
        assert len(texts) > 8, state
        assert {text: contrast for text, contrast in texts if contrast < 4.5} == {}, state


def test_contrast_check_can_fail(page: WebPage) -> None:
    page.run("document.querySelector('header p').style.color = '#8a8a8a'")
    assert [text for text, contrast in page.run(CONTRAST) if contrast < 4.5] == ["Enlarge photographs on this server"]


def test_theme_switch(page: WebPage) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    page.at("theme").click()
    assert page.at("theme").get_attribute("aria-pressed") == "true"
    dark = page.run(ground)
    assert dark != light
    page.open(page.driver.current_url)  # kept
    assert page.run(ground) == dark
    page.at("theme").click()
    assert page.run(ground) == light


def test_every_control_has_a_name(page: WebPage, file: Path) -> None:
    page.enlarge(file)
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    page.driver.execute_cdp_cmd("Accessibility.disable", {})
    heard = [(node["role"]["value"], node["name"]["value"]) for node in tree if not node["ignored"] and "name" in node]
    named = ("button", "link", "combobox", "slider", "spinbutton", "checkbox", "image", "region", "form", "progressbar")
    assert [role for role, name in heard if role in named and not name] == []
    for expected in (
        ("combobox", "Model"), ("spinbutton", "Scale"), ("combobox", "Format"), ("slider", "Quality"),
        ("slider", "Border between original and result"), ("button", "Zoom in"), ("link", "Download"),
        ("checkbox", "Show pixels"), ("image", "Original"), ("image", "Result"), ("heading", "RepSR"),
    ):  # fmt: skip
        assert expected in heard
    roles = {role for role, _ in heard}
    assert {"main", "banner", "status", "alert", "form"} <= roles


@pytest.mark.parametrize("done", [False, True])
def test_tab_reaches_every_control_and_shows_where_it_is(page: WebPage, file: Path, done: bool) -> None:
    if done:
        page.enlarge(file)
    expected = page.run(TABBABLE)
    assert len(expected) == (14 if done else 6)
    page.run("document.getElementById(arguments[0]).focus()", expected[0])
    for name in expected[1:]:
        page.press(Keys.TAB)
        assert page.focused == name
        assert page.run(RING), f"no focus ring on {name}"


def test_stages_are_announced_once(page: WebPage, file: Path) -> None:
    page.run(
        """
        window.heard = [];
        new MutationObserver(() => heard.push(document.getElementById("status").textContent))
          .observe(document.getElementById("status"), {childList: true, characterData: true, subtree: true});
        """
    )
    page.enlarge(file)
    heard = page.run("return heard")
    assert heard[0] == "Sending"
    assert heard[-1].startswith("Done: 160")
    assert len(heard) == len(set(heard)) <= 6


@pytest.mark.parametrize("width", [320, 768])
def test_small_screens_and_large_text(page: WebPage, file: Path, width: int) -> None:
    page.emulate(width=width, height=600)
    text = file.with_name("notes.txt")
    text.write_text("no picture")
    for size in ("100%", "200%"):
        page.open(page.driver.current_url)
        page.emulate(width=width, height=600)
        page.run("document.documentElement.style.fontSize = arguments[0]", size)
        for choose in (lambda: None, lambda: (page.choose(text), page.finish()), lambda: page.enlarge(file)):
            choose()
            assert page.run("return document.documentElement.scrollWidth") <= width, (size, page.state)
            assert page.run(OVERLAPS) == [], (size, page.state)
