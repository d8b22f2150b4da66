"""The page's files as they are served: whole, cacheable, and under a policy that they keep."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from importlib.resources import files

import httpx
import pytest
from fastapi import FastAPI

from repsr_serve.http.page import ASSETS, PAGE, router
from repsr_serve.problems import Problem

APP = FastAPI()
APP.include_router(router)


def get(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://here") as client:
            return await client.request(
                method, path, headers={name.replace("_", "-"): v for name, v in headers.items()}
            )

    return asyncio.run(ask())


class Tags(HTMLParser):
    """All tags of a page with their attributes, and the text inside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:
            self.inline += data.strip()


def test_table_is_what_the_folder_holds() -> None:
    own = {path.name for path in (files("repsr_serve") / "web").iterdir()}
    shared = {path.name for path in (files("repsr_deploy") / "compare" / "web").iterdir()}
    assert own <= {"index.html", *ASSETS}
    assert set(ASSETS) <= own | shared
    assert not own & shared


@pytest.mark.parametrize("path", ["/", *(f"/assets/{name}" for name in ASSETS)])
def test_file_is_served_once_and_kept(path: str) -> None:
    first = get(path)
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    again = get(path, If_None_Match=f'"old", W/{first.headers["ETag"]}')
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert get(path, If_None_Match='"old"').content == first.content
    head = get(path, "HEAD")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(first.content)))


def test_policy_allows_nothing_but_ourselves() -> None:
    directives = dict(part.split(maxsplit=1) for part in get("/").headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    allowed = {source for sources in directives.values() for source in sources.split()}
    assert allowed == {"'none'", "'self'", "blob:"}
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert get("/").headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", ["index.html", "app.js%00", "APP.JS", "%2e%2e%5cpage.py", "web"])
def test_nothing_else_is_served(name: str) -> None:
    with pytest.raises(Problem) as refusal:
        get(f"/assets/{name}")
    assert refusal.value.cause == "not-found"


@pytest.mark.parametrize(
    "path", ["/assets/../page.py", "/assets/..%2Fpage.py", "/assets/%2e%2e%2fsettings.py", "/app.js"]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert get(path).status_code == 404


def test_page_names_only_files_that_there_are() -> None:
    page = Tags(PAGE.content.decode())
    named = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href") and value
    ]
    assert named
    assert {name.removeprefix("assets/") for name in named} <= set(ASSETS)
    for name, asset in ASSETS.items():
        text = asset.content.decode()
        imported = re.findall(r'^(?:import|export) .* from "\./(.*)";$', text, re.MULTILINE)
        assert len(imported) == len(re.findall(r"^import |\bfrom \"", text, re.MULTILINE)) // 2
        assert set(imported) <= set(ASSETS), name
        assert "url(" not in text, name
        assert "@import" not in text, name
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg|user:key@host)", text) == [], name


def test_page_has_nothing_that_its_policy_forbids() -> None:
    page = Tags(PAGE.content.decode())
    assert page.inline == ""
    names = {name for _, attributes in page.tags for name in attributes}
    assert not [name for name in names if name == "style" or name.startswith("on")]


def test_every_label_and_id_is_right() -> None:
    page = Tags(PAGE.content.decode())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    meant = [
        attributes[name] for _, attributes in page.tags for name in ("for", "aria-labelledby") if name in attributes
    ]
    assert set(meant) <= set(ids)
    assert set(re.findall(r"\bat\.([a-z]+)\b", ASSETS["app.js"].content.decode())) <= set(ids)
