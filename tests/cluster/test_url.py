"""Files by URL: how they are called, found, fetched and stored."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import pytest

from repsr_deploy.cluster.url import Url, fetched, find_urls, is_there, place, stored
from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from tests.cluster.work import Shelf


@pytest.fixture
def memory() -> Generator[Any]:
    """An object store, empty."""
    store = fsspec.filesystem("memory")
    yield store
    for path in store.find("/"):
        store.rm_file(path)


def put(store: Any, *names: str) -> None:
    for name in names:
        store.pipe_file(name, name.encode())


def test_names_are_those_of_paths() -> None:
    url = place("s3://photos/in/a b.tar.png")
    assert isinstance(url, Url)
    assert str(url) == "s3://photos/in/a b.tar.png"
    assert str(url.parent / "out" / url.name) == "s3://photos/in/out/a b.tar.png"
    assert (url.name, url.stem, url.suffix, url.store) == ("a b.tar.png", "a b.tar", ".png", "s3")
    assert pickle.loads(pickle.dumps(url)) == url
    assert str(pickle.loads(pickle.dumps(url))) == str(url)
    assert url == place("s3://photos/in//a b.tar.png")
    assert not url.exists()


def test_local_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place("in/a.png") == tmp_path / "in" / "a.png"
    assert place("file:///data/a%20b.png") == Path("/data/a b.png")
    assert not isinstance(place("file:///data/a.png"), Url)


@pytest.mark.parametrize("text", ["s3://", "s3:///in", "gs:///"])
def test_address_without_a_bucket_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no bucket or host"):
        place(text)


def test_find(memory: Any) -> None:
    put(memory, "/in/b.png", "/in/a.JPG", "/in/notes.txt", "/in/.hidden.png", "/in/deep/c.webp", "/in/Thumbs.db")
    put(memory, "/in/__MACOSX/x.png", "/one.png")
    folder, one = Url("memory://in"), Url("memory://one.png")
    found = find_urls([folder], recursive=False)
    assert [(str(file.path), str(file.below)) for file in found.files] == [
        ("memory://in/a.JPG", "."),
        ("memory://in/b.png", "."),
    ]
    assert (found.skipped, found.several) == (1, True)
    deep = find_urls([folder, one, folder], recursive=True)
    assert [(str(file.path), str(file.below)) for file in deep.files] == [
        ("memory://in/a.JPG", "."),
        ("memory://in/b.png", "."),
        ("memory://in/deep/c.webp", "deep"),
        ("memory://one.png", "."),
    ]
    alone = find_urls([one], recursive=False)
    assert (alone.several, len(alone.files)) == (False, 1)
    missing = find_urls([Url("memory://nothing.png")], recursive=False)
    assert [str(file.path) for file in missing.files] == ["memory://nothing.png"]
    assert find_urls([], recursive=False).files == []


def test_folder_without_pictures_is_refused(memory: Any) -> None:
    put(memory, "/in/notes.txt")
    with pytest.raises(ImageFileError, match=r"memory://in holds no image \(1 other files\)"):
        find_urls([Url("memory://in")], recursive=True)


def test_fetch(memory: Any, tmp_path: Path) -> None:
    put(memory, "/in/a.png")
    with fetched(Url("memory://in/a.png"), tmp_path) as file:
        assert file.read_bytes() == b"/in/a.png"
        assert file.name == "a.png"
    assert not file.exists()
    with fetched(tmp_path / "own.png", tmp_path) as file:
        assert file == tmp_path / "own.png"


@pytest.mark.parametrize("address", ["memory://out/a.png", "shelf://{tmp_path}/out/a.png"])
def test_store(address: str, memory: Any, tmp_path: Path) -> None:
    url = place(address.format(tmp_path=str(tmp_path).strip("/")))
    assert isinstance(url, Url)
    assert not is_there(url)
    store, path = fsspec.core.url_to_fs(str(url))
    for content in (b"first", b"second"):
        with stored(url) as file:
            file.write_bytes(content)
            file.with_name("a.compare.html").write_bytes(b"page")
            assert not is_there(url) or content == b"second"
        assert store.cat_file(path) == content
    assert sorted(Path(name).name for name in store.find(path.rpartition("/")[0])) == ["a.compare.html", "a.png"]
    assert is_there(url)
    with suppress(ZeroDivisionError), stored(url) as file:
        file.write_bytes(b"third")
        raise ZeroDivisionError
    assert store.cat_file(path) == b"second"
    assert len(memory.find("/")) + len(list(tmp_path.rglob("*.*"))) == 2


def test_shared_file_system_never_has_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = Url(f"shelf://{tmp_path}/out/a.png".replace(":///", "://"))
    with stored(url) as file:
        file.write_bytes(b"whole")

    def put_half(self: Shelf, local: str, path: str, **_: Any) -> None:
        Path(path).write_bytes(Path(local).read_bytes()[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Shelf, "put_file", put_half)
    with pytest.raises(RepsrError, match=r"cannot write shelf://.*No space left"), stored(url) as file:
        file.write_bytes(b"changed")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"whole"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("memory://in/nothing.png", "cannot read memory://in/nothing.png"),
        ("nosuchstore://in/a.png", "Protocol not known"),
    ],
)
def test_what_cannot_be_read_is_said(address: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RepsrError, match=reason), fetched(Url(address), tmp_path):
        pass


@pytest.mark.skipif(find_spec("wandb") is not None, reason="the package of the store that is to be missing is here")
def test_missing_package_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(RepsrError, match="install the package of that store"),
        fetched(Url("wandb://a/b.png"), tmp_path),
    ):
        pass
