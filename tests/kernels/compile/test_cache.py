"""Files that are made once: found again, made again when damaged, made by one of many who want them."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repsr_kernels.cache_dir import locked
from repsr_kernels.compile.cache import Entry, cached, key_of, texts_in
from repsr_kernels.errors import RepsrError, RuntimeUnavailableError


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def entry(what: object = 1) -> Entry:
    return Entry(prefix="thing", key=key_of(what), suffix=".bin")


class Maker:
    """Writes a content, and counts how often."""

    def __init__(self, content: bytes = b"content") -> None:
        self.content, self.count = content, 0

    def __call__(self, path: Path) -> None:
        self.count += 1
        path.write_bytes(self.content)


def test_made_once(cache_folder: Path) -> None:
    maker = Maker()
    path = cached(entry(), maker)
    assert cached(entry(), maker) == path
    assert maker.count == 1
    assert entry().content() == b"content"
    assert path.parent == cache_folder
    assert path.name.startswith("thing-")
    assert path.suffix == ".bin"


def test_nothing_else_is_left(cache_folder: Path) -> None:
    path = cached(entry(), Maker())
    assert sorted(each.name for each in cache_folder.iterdir()) == sorted([path.name, f".{path.name}.lock"])


def test_another_key_is_another_file() -> None:
    assert cached(entry(1), Maker()) != cached(entry(2), Maker(b"other"))
    assert entry(1).content() == b"content"
    assert entry(2).content() == b"other"


def test_keys_tell_apart_what_runs_together() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of(("a", "b"), "c") != key_of("a", ("b", "c"))
    assert key_of("1") != key_of(1)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign", "longer"])
def test_what_is_not_whole_is_made_again(damage: str) -> None:
    maker = Maker(b"some content of a library")
    path = cached(entry(), maker)
    data = path.read_bytes()
    damaged = {
        "cut": data[:-1],
        "bit": bytes([data[0] ^ 1]) + data[1:],
        "empty": b"",
        "foreign": cached(entry("foreign"), Maker()).read_bytes(),  # whole, under a wrong name
        "longer": data + b"\0",
    }[damage]
    path.write_bytes(damaged)
    assert entry().content() is None
    assert cached(entry(), maker) == path
    assert maker.count == 2
    assert path.read_bytes() == data


def test_a_file_in_use_stays_as_it_is() -> None:
    path = cached(entry(), Maker())
    with path.open("rb") as opened:
        path.write_bytes(b"damaged")
        before = opened.read()
        cached(entry(), Maker())
        opened.seek(0)
        assert opened.read() == before  # another file has its name now


def test_a_failure_leaves_nothing_and_is_remembered(cache_folder: Path) -> None:
    calls: list[Path] = []

    def fail(path: Path) -> None:
        calls.append(path)
        path.write_bytes(b"half")
        raise RuntimeUnavailableError("the compiler is broken")

    failing = entry("a failure")
    for _ in range(2):
        with pytest.raises(RuntimeUnavailableError, match="the compiler is broken"):
            cached(failing, fail)
    assert len(calls) == 1
    assert not failing.path.exists()
    assert [each.name for each in cache_folder.iterdir()] == [f".{failing.path.name}.lock"]


def test_an_interruption_is_not_remembered() -> None:
    def interrupt(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(entry("interrupted"), interrupt)
    assert cached(entry("interrupted"), Maker()).exists()


def test_threads_wait_for_one() -> None:
    making = threading.Event()
    maker = Maker()

    def slowly(path: Path) -> None:
        assert not making.is_set()
        making.set()
        time.sleep(0.1)
        maker(path)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(cached, entry(), slowly) for _ in range(4)]
    assert len({each.result() for each in running}) == maker.count == 1


def hold(path: Path, held: threading.Event, release: threading.Event) -> None:
    with locked(path):
        held.set()
        release.wait(10)


def test_processes_wait_for_one() -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(entry().path, held, release))
    holder.start()
    assert held.wait(10)
    maker = Maker()
    waiter = threading.Thread(target=cached, args=(entry(), maker))
    waiter.start()
    waiter.join(0.1)
    assert waiter.is_alive()
    assert maker.count == 0
    release.set()
    waiter.join(10)
    holder.join(10)
    assert maker.count == 1
    assert not waiter.is_alive()


def test_a_folder_that_cannot_be_made_is_named(cache_folder: Path) -> None:
    cache_folder.parent.write_text("a file where the folder should be")
    with pytest.raises(RepsrError, match=r"cannot write into .*; set REPSR_CACHE to a writable folder"):
        cached(entry(), Maker())


def test_texts_are_those_of_compilers(tmp_path: Path) -> None:
    for name in ("b.cuh", "a.cu", "notes.md"):
        (tmp_path / name).write_text(name)
    assert texts_in([tmp_path, tmp_path]) == [("a.cu", b"a.cu"), ("b.cuh", b"b.cuh")]
    assert texts_in([tmp_path], (".cuh",)) == [("b.cuh", b"b.cuh")]
