"""Which library is loaded: the one beside the sources while it is made of them, or one that is compiled once."""

from __future__ import annotations

import ctypes
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repsr_kernels.cpu import build, shared_library
from repsr_kernels.errors import RuntimeUnavailableError

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")

EXPORTED = 'extern "C" __attribute__((visibility("default"))) '


class Checkout:
    """A small library's sources, with a library beside them or not, and an empty cache."""

    def __init__(self, root: Path) -> None:
        self.csrc, self.beside, self.cache = root / "csrc", root / build.LIBRARY.name, root / "cache" / "kernels"
        self.csrc.mkdir()
        others = sorted(shared_library.FUNCTIONS.keys() - {"repsr_sources"})
        functions = "".join(f"{EXPORTED}int {name}() {{ return NUMBER; }}\n" for name in others)
        self.write(
            "api.cpp", f'{EXPORTED}const char* repsr_sources() {{ return REPSR_SOURCES; }}\n#include "number.hpp"\n'
        )
        self.write("functions.cpp", f'#include "number.hpp"\n{functions}')
        self.write("apart.cpp", "int apart() { return 1; }\n")
        self.write("isa_portable.cpp", "")
        self.write("number.hpp", "#pragma once\n#define NUMBER 1\n")

    def write(self, name: str, text: str) -> None:
        (self.csrc / name).write_text(text)

    def objects(self) -> Counter[str]:
        """What was compiled into the cache so far, how often."""
        return Counter(path.name.rpartition("-")[0].removeprefix("engine-") for path in self.cache.glob("*.o"))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path)
    monkeypatch.setattr(build, "CSRC", made.csrc)
    monkeypatch.setattr(build, "LIBRARY", made.beside)
    monkeypatch.setenv("REPSR_CACHE", str(made.cache.parent))
    monkeypatch.delenv("CXX", raising=False)
    return made


def found() -> Path:
    return Path(loaded()._name)


def loaded() -> ctypes.CDLL:
    return shared_library.library.__wrapped__()


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


def test_the_library_beside_its_sources_needs_no_compiler(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    build.build(checkout.beside, checkout.csrc)
    without_compiler(monkeypatch)
    assert found() == checkout.beside
    assert not checkout.cache.exists()


def test_a_library_without_sources_is_taken_as_it_is(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    build.build(checkout.beside, checkout.csrc)
    shutil.rmtree(checkout.csrc)
    without_compiler(monkeypatch)
    assert found() == checkout.beside


def test_edited_sources_are_compiled_where_they_were_edited(checkout: Checkout) -> None:
    build.build(checkout.beside, checkout.csrc)
    checkout.write("number.hpp", "#pragma once\n#define NUMBER 2\n")
    library = loaded()
    assert Path(library._name).parent == checkout.cache
    assert library.repsr_precisions(b"") == 2
    assert checkout.objects() == {"api": 1, "apart": 1, "functions": 1, "isa_portable": 1}
    assert found() == Path(library._name)
    checkout.write("apart.cpp", "int apart() { return 2; }\n")
    assert found() != Path(library._name)
    assert checkout.objects() == {"api": 2, "apart": 2, "functions": 1, "isa_portable": 1}  # api.cpp has the digest
    checkout.write("number.hpp", "#pragma once\n#define NUMBER 3\n")
    assert loaded().repsr_precisions(b"") == 3
    assert checkout.objects() == {"api": 3, "apart": 2, "functions": 2, "isa_portable": 1}


def test_many_who_want_it_at_once_compile_once(checkout: Checkout) -> None:
    barrier = threading.Barrier(4)

    def find(_: int) -> Path:
        barrier.wait(10)
        return found()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(find, range(4)))) == 1
    assert checkout.objects().total() == 4


@pytest.mark.parametrize("content", [b"no library", None])
def test_a_library_that_cannot_be_loaded_is_passed_by(content: bytes | None, checkout: Checkout) -> None:
    if content is None:  # a library, but of something else
        source = checkout.csrc.parent / "else.cpp"
        source.write_text("int nothing;")
        build.run(["g++", "-shared", "-fPIC", str(source), "-o", str(checkout.beside)])
    else:
        checkout.beside.write_bytes(content)
    assert found().parent == checkout.cache


def test_what_is_not_whole_in_the_cache_is_made_again(checkout: Checkout) -> None:
    path = found()
    content = path.read_bytes()
    path.unlink()  # it is loaded: as it is, until the process ends
    path.write_bytes(content[:-100])
    assert found() == path
    assert path.read_bytes() == content


def test_why_there_is_none(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    with pytest.raises(RuntimeUnavailableError) as caught:
        found()
    assert str(caught.value) == (
        f"the processor engine cannot be used: there is no {checkout.beside}; CXX names 'no-such-compiler', which is "
        "no program here; expected a C++ compiler; a C++ compiler makes it of the sources, and wheels for one platform "
        "have it inside: install either"
    )
    checkout.beside.write_bytes(b"damaged")
    with pytest.raises(RuntimeUnavailableError, match=f"cannot load {checkout.beside}: .*; CXX names"):
        found()
    monkeypatch.delenv("CXX")
    build.build(checkout.beside, checkout.csrc)
    checkout.write("number.hpp", "#error number")
    with pytest.raises(
        RuntimeUnavailableError,
        match=rf"{checkout.beside} was made of other sources than those in .*csrc; .*g\+\+ failed: "
        ".*number.hpp:1:2: error: #error number",
    ):
        found()
    checkout.beside.unlink()
    shutil.rmtree(checkout.csrc)
    with pytest.raises(RuntimeUnavailableError, match="there are no sources in"):
        found()


def test_a_cache_that_cannot_be_written_to_is_a_reason(checkout: Checkout) -> None:
    checkout.cache.parent.write_text("a file where the folder should be")
    with pytest.raises(RuntimeUnavailableError, match="set REPSR_CACHE to a writable folder; a C"):
        found()
