"""What is written beside a result."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms

from repsr_deploy.compare import comparison_files, crop, page, write_comparison
from repsr_deploy.compare.pictures import GAP, bicubic, difference
from repsr_deploy.errors import RepsrError

RNG = np.random.default_rng(12)
NASTY = "<script>alert(1)</script> & \"quoted\" 'x' \N{GRINNING FACE}\n$title ${before} \udcff.png"


def noise(*shape: int, dtype: str = "uint8") -> Any:
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


class Tags(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.inline: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.parts.append(data)
        else:
            self.inline[self.cdata_elem] = self.inline.get(self.cdata_elem, "") + data

    @property
    def text(self) -> str:
        """As a person reads it."""
        return " ".join(" ".join(self.parts).split())

    def picture(self, name: str, key: str = "src") -> Any:
        """What an element shows."""
        address = next(attributes[key] for _, attributes in self.tags if attributes.get("id") == name)
        assert address is not None
        kind, _, data = address.partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg", "data:image/webp")
        return np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(data, validate=True))))


def tags_of(file: Path) -> Tags:
    return Tags(file.read_text(encoding="utf-8"))


def read(file: Path) -> Any:
    return np.asarray(PillowImage.open(file))


@pytest.mark.parametrize("layout", [(), (2,), (3,), (4,)])
def test_files_hold_both_pictures_and_the_difference(layout: tuple[int, ...], tmp_path: Path) -> None:
    before, after = noise(10, 12, *layout), noise(20, 24, *layout)
    files = write_comparison(before, after, tmp_path / "photo.webp", title="photo.jpg", model="photo-x2")
    assert [file.name for file in files] == ["photo.compare.html", "photo.compare.png", "photo.difference.png"]
    assert files == comparison_files(tmp_path / "photo.webp")
    assert sorted(tmp_path.iterdir()) == sorted(files)
    seen = tags_of(files[0])
    for name, picture in (("before", before), ("after", after)):
        stored = seen.picture(name)
        if layout == (2,):  # which a format may hold as RGBA
            stored = stored[..., [0, -1]]
        np.testing.assert_array_equal(stored, picture)
    apart = difference(bicubic(before, 20, 24), after)
    np.testing.assert_array_equal(seen.picture("after", "data-difference"), apart.map_hwc)
    np.testing.assert_array_equal(read(files[2]), apart.map_hwc)
    both = read(files[1])
    assert both.shape[:2] == (20, 48 + GAP)
    if layout == (3,):
        np.testing.assert_array_equal(both[:, :24], bicubic(before, 20, 24))
        np.testing.assert_array_equal(both[:, -24:], after)
    for said in ("Original 12 × 10", "Result 24 × 20", "Factor 2 ", "Model photo-x2", f"Mean {apart.mean:.2f}"):  # noqa: RUF001
        assert said in seen.text
    assert f"{apart.top} or more" in seen.text
    assert "Only the middle" not in seen.text


def test_16_bits_are_shown_as_8(tmp_path: Path) -> None:
    before, after = noise(5, 6, 3, dtype="uint16"), noise(10, 12, 3, dtype="uint16")
    files = write_comparison(before, after, tmp_path / "a.png", title="a", model="m")
    shown = tags_of(files[0]).picture("after")
    assert shown.dtype == np.uint8
    assert np.abs(shown - after / 257).max() <= 0.51


@pytest.mark.parametrize(
    ("size", "new_size", "said"),
    [((9, 7), (14, 10), "Factor 1.5"), ((10, 10), (20, 35), "Factor 2 × 3.5"), ((9, 1), (3, 1), "Factor 0.3333")],  # noqa: RUF001
)
def test_factor(size: tuple[int, int], new_size: tuple[int, int], said: str, tmp_path: Path) -> None:
    one, other = noise(size[1], size[0]), noise(new_size[1], new_size[0])
    files = write_comparison(one, other, tmp_path / "a.png", title="a", model="m")
    assert said in tags_of(files[0]).text


def test_any_name_is_text_and_never_markup(tmp_path: Path) -> None:
    files = write_comparison(noise(4, 4, 3), noise(8, 8, 3), tmp_path / "a.png", title=NASTY, model=NASTY)
    seen = tags_of(files[0])
    written = " ".join(NASTY.replace("\udcff", "\N{REPLACEMENT CHARACTER}").split())
    assert seen.text.count(written) == 3  # title, heading, model
    assert [tag for tag, _ in seen.tags].count("script") == 1
    assert "alert" not in seen.inline["script"]


def test_page_needs_and_allows_nothing_else(tmp_path: Path) -> None:
    files = write_comparison(noise(4, 4, 3), noise(8, 8, 3), tmp_path / "a.png", title="a", model="m")
    seen = tags_of(files[0])
    named = [value for _, attributes in seen.tags for key, value in attributes.items() if key in ("src", "href")]
    assert len(named) == 2
    assert all((value or "").startswith("data:image/png;base64,") for value in named)
    assert not [key for _, attributes in seen.tags for key in attributes if key == "style" or key.startswith("on")]
    text = files[0].read_text(encoding="utf-8")
    assert not re.findall(r"https?:|@import|url\(|^import |^export ", text, re.MULTILINE)
    policy = next(attributes["content"] for _, attributes in seen.tags if "http-equiv" in attributes) or ""
    directives = dict(part.split(maxsplit=1) for part in policy.split("; "))
    assert directives.pop("default-src") == "'none'"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(seen.inline[tag].encode()).digest()).decode()
        assert directives.pop(name) == f"'sha256-{digest}'"
    assert directives == {"img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


@pytest.mark.parametrize(("channels", "form"), [(3, "JPEG"), (4, "WEBP")])
def test_of_a_large_result_the_middle_is_shown(
    channels: int, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop, "SHOWN_PIXELS", 3000)
    monkeypatch.setattr(page, "LOSSLESS_PIXELS", 2000)
    before = np.full((90, 80, channels), 128, np.uint8)
    before[40:50, 35:45] = 255
    after = before.repeat(2, axis=0).repeat(2, axis=1)
    files = write_comparison(before, after, tmp_path / "a.png", title="a", model="m")
    seen = tags_of(files[0])
    shown = seen.picture("after")
    assert 2000 < shown.shape[0] * shown.shape[1] <= 3000
    assert f"Only the middle of the result is shown: {shown.shape[1]} × {shown.shape[0]} of 160 × 180" in seen.text  # noqa: RUF001
    assert f"as {form}, quality 95" in seen.text
    middle = shown[tuple(slice(side // 2 - 5, side // 2 + 5) for side in shown.shape[:2])]
    assert middle.min() > 240
    assert read(files[1]).shape[0] == shown.shape[0]


def test_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = write_comparison(
        noise(4, 4, 3), noise(8, 8, 3), tmp_path / "a.png", title="a", model="m", icc_profile=profile
    )
    with PillowImage.open(files[1]) as both:
        assert both.info["icc_profile"] == profile
    with PillowImage.open(files[2]) as apart:
        assert "icc_profile" not in apart.info


def test_longest_names(tmp_path: Path) -> None:
    stems = ["\N{GRINNING FACE}" * 62 + ending for ending in ("abc", "abd")]
    made = {file for stem in stems for file in comparison_files(tmp_path / f"{stem}.png")}
    assert len(made) == 6
    assert all(len(file.name.encode()) <= 255 for file in made)
    files = write_comparison(noise(2, 2), noise(4, 4), tmp_path / f"{stems[0]}.png", title=stems[0], model="m")
    assert all(file.exists() for file in files)


def test_nothing_is_left_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RepsrError, match="cannot write"):
        write_comparison(noise(2, 2), noise(4, 4), tmp_path / "taken" / "a.png", title="a", model="m")
    (tmp_path / "a.compare.html").mkdir()
    with pytest.raises(RepsrError, match="cannot write"):
        write_comparison(noise(2, 2), noise(4, 4), tmp_path / "a.png", title="a", model="m")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
