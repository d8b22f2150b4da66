"""Folders of photographs become a store, whatever happens on the way."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.files import sha256
from repsr_deploy.imaging.image_file import write_image
from repsr_train.data import load_data
from repsr_train.data.journal import Journal
from repsr_train.data.manifest import Settings
from repsr_train.data.prepare import Interrupted, prepare
from repsr_train.data.store import open_store
from tests.training.data.scenes import scene


def content(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(8):
        write_image(folder / f"{seed}.png", scene(seed, 70 + seed, 90))
    (folder / "3-broken.png").write_bytes(b"no photograph")
    shutil.copy(folder / "1.png", folder / "5-copy.png")
    return folder


@pytest.fixture(scope="module")
def whole(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the store of `photographs`, made without a break."""
    out = tmp_path_factory.mktemp("whole") / "store"
    prepare([photographs], out, workers=1)
    return content(out)


def stopping_after(files: int) -> Callable[[], bool]:
    """`should_stop` that lets so many files be prepared, after all ten were read."""
    asked = iter(range(10**6))
    return lambda: next(asked) >= 10 + files


def test_a_store_holds_the_usable_and_lists_the_rest(mixed: Path, store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    assert [image["name"] for image in manifest["images"]] == [
        *("a-rgb.png", "b-gray.png", "c-rgba.png", "d-16-bit.png", "e-cmyk.jpg", "f-large.jpg"),
        *("deep/new.webp", "flat-1.png", "flat-2.png"),
    ]
    assert {image["licence"] for image in manifest["images"][:6]} == {"CC0"}
    assert {image["licence"] for image in manifest["images"][6:]} == {"mine"}
    assert [file["name"] for file in manifest["rejected"]] == ["g-cut.png", "h-text.jpg", "i-empty.webp", "j-tiny.png"]
    for file, reason in zip(manifest["rejected"], ("cut off", "starts with", "empty", "300x20 pixels"), strict=True):
        assert reason in file["reason"]
        assert file["name"] in file["reason"]
    mine, other = mixed / "mine", mixed / "other"
    assert [(file["name"], file["of"]) for file in manifest["duplicates"]] == [
        ("copy.png", str(mine / "a-rgb.png")),
        ("deep/smaller.jpg", str(mine / "b-gray.png")),
        ("flat-3.png", str(other / "flat-1.png")),
    ]
    large = manifest["images"][5]
    assert (large["height"], large["width"], large["reduction"]) == (200, 850, 2)
    assert large["sha256"] == sha256((mine / "f-large.jpg").read_bytes())
    assert sorted(path.name for path in store.iterdir()) == ["lr-x2.u8", "lr-x4.u8", "manifest.json", "pixels.u8"]
    for scale, file in manifest["lr"].items():
        data = (store / f"lr-x{scale}.u8").read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), sha256(data))


def test_copies_are_kept_when_asked(mixed: Path, tmp_path: Path) -> None:
    manifest = prepare([mixed / "other"], tmp_path / "store", near_duplicates=False, scales=())
    assert len(manifest.images) == 6
    assert manifest.duplicates == ()
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["manifest.json", "pixels.u8"]


def test_a_file_in_two_folders_is_one(mixed: Path, tmp_path: Path) -> None:
    folders = [mixed / "other", mixed / "other" / "deep"]
    manifest = prepare(folders, tmp_path / "store", near_duplicates=False, scales=())
    assert len(manifest.images) == 6


def test_progress_counts_every_file_of_both_passes(photographs: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        seen.append((what, done, total))

    prepare([photographs], tmp_path / "store", scales=(), progress=progress)
    assert seen == [(what, done, 10) for what in ("reading", "preparing") for done in range(1, 11)]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_run_continues_to_the_same_bytes(
    photographs: Path, whole: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "store"
    for files in (0, 1, 4, 2):
        with pytest.raises(Interrupted, match="the same command continues"):
            prepare([photographs], out, workers=workers, should_stop=stopping_after(files))
    said: list[str] = []
    prepare([photographs], out, workers=workers, report=said.append)
    assert said[0] == "continuing after 7 of 10 files"
    assert content(out) == whole


def test_whatever_a_kill_leaves_half_done_is_done_again(
    photographs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        prepare([photographs], tmp_path / "store", workers=1, should_stop=stopping_after(9))
    left = content(tmp_path / "store")
    random = np.random.default_rng(0)
    for trial in range(12):
        out = tmp_path / f"cut-{trial}"
        out.mkdir()
        for name, data in left.items():
            kept = data[: random.integers(len(data) + 1)] if trial % 3 != 1 or name == "journal.jsonl" else data
            garbage = random.bytes(int(random.integers(50))) if trial % 3 == 2 else b""
            (out / name).write_bytes(kept + garbage)
        prepare([photographs], out, workers=1)
        assert content(out) == whole, trial


def test_killed_it_continues_to_the_same_bytes(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for seed in range(16):
        write_image(photographs / f"{seed:02}.png", scene(seed, 300, 400))
    code = (
        "import sys; from pathlib import Path; from repsr_train.data.prepare import prepare; "
        "prepare([Path(sys.argv[1])], Path(sys.argv[2]), workers=1)"
    )
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, photographs, killed])
    journal = killed / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "manifest.json").exists()
    with pytest.raises(UsageError, match="is unfinished; continue it"):
        load_data(killed, 2)
    said: list[str] = []
    prepare([photographs], killed, report=said.append)
    assert said[0].startswith("continuing after ")
    prepare([photographs], tmp_path / "whole", workers=1)
    assert content(killed) == content(tmp_path / "whole")


def test_a_full_disk_loses_nothing(photographs: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from repsr_deploy.errors import RepsrError
from repsr_train.data.prepare import prepare
resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, 70_000))
try:
    prepare([Path(sys.argv[1])], Path(sys.argv[2]), workers=1)
except RepsrError as error:
    print(error)
"""
    out = tmp_path / "store"
    run = subprocess.run([sys.executable, "-c", code, photographs, out], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert run.stdout.startswith(f"cannot write {out}: ")
    assert "what is done is kept" in run.stdout
    said: list[str] = []
    prepare([photographs], out, report=said.append)
    assert said[0] == "continuing after 4 of 10 files"
    assert content(out) == whole


def claiming_png(path: Path, side: int) -> None:
    """A PNG file whose header promises side x side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tEXt", path.name.encode()) + chunk(b"IEND", b"")
    )


def test_too_little_space_is_seen_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "huge").mkdir()
    for index in range(shutil.disk_usage(tmp_path).free // (3 * 20_000**2) + 1):
        claiming_png(tmp_path / "huge" / f"{index}.png", 20_000)
    with pytest.raises(RepsrError, match=r"take up to .* GB and .* GB free"):
        prepare([tmp_path / "huge"], tmp_path / "store")
    assert (tmp_path / "store" / "pixels.u8").stat().st_size == 0


def test_a_header_that_promises_too_much_is_rejected_in_its_turn(photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(photographs, tmp_path / "photographs")
    claiming_png(tmp_path / "photographs" / "4-hollow.png", 100)
    manifest = prepare([tmp_path / "photographs"], tmp_path / "store")
    assert [file.name for file in manifest.rejected] == ["3-broken.png", "4-hollow.png"]
    assert "cannot decode" in manifest.rejected[1].reason


def test_a_finished_store_is_checked_and_left_alone(mixed: Path, store: Path) -> None:
    before = content(store)
    said: list[str] = []
    prepare([mixed / "mine", mixed / "other"], store, licences=["CC0", "mine"], report=said.append)
    assert said == [f"{store} is finished already, and whole"]
    assert content(store) == before


def test_changed_settings_are_named(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    with pytest.raises(Interrupted):
        prepare([photographs], out, should_stop=stopping_after(2))
    begun = content(out)
    with pytest.raises(
        RepsrError, match=r"begun with other settings: scales was \(2, 4\) and is \(3,\), min_side was 64"
    ):
        prepare([photographs], out, scales=[3], min_side=70)
    assert content(out) == begun
    prepare([photographs], out)
    with pytest.raises(UsageError, match="finished, with other settings: reduction was auto and is 2"):
        prepare([photographs], out, reduction=2)


def test_changed_photographs_are_named(photographs: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photographs", tmp_path / "store"
    shutil.copytree(photographs, folder)
    with pytest.raises(Interrupted):
        prepare([folder], out, should_stop=stopping_after(3))
    write_image(folder / "9.png", scene(99))  # behind what is done: simply one more
    original = (folder / "1.png").read_bytes()
    write_image(folder / "1.png", scene(98))
    with pytest.raises(RepsrError, match=r"begun with other photographs: .*1\.png has changed"):
        prepare([folder], out)
    (folder / "1.png").write_bytes(original)
    assert len(prepare([folder], out).images) == 9
    (folder / "9.png").unlink()
    with pytest.raises(UsageError, match=r"photographs have changed since, the first is .*9\.png"):
        prepare([folder], out)


def test_damage_to_a_finished_store_is_found(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    manifest = prepare([photographs], out)
    data = bytearray((out / "pixels.u8").read_bytes())
    data[manifest.images[4].offset + 5] ^= 1
    (out / "pixels.u8").write_bytes(data)
    with pytest.raises(RepsrError, match=rf"1 of 8 .* the first is {manifest.images[4].name}"):
        prepare([photographs], out)


def test_two_processes_cannot_write_one_store(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    settings = Settings(
        folders=(str(photographs),), licences=("",), scales=(2, 4), reduction="auto", min_side=64, near_duplicates=True
    )
    with Journal(out, settings), pytest.raises(RepsrError, match="another process is preparing"):
        prepare([photographs], out)
    assert len(prepare([photographs], out).images) == 8


def test_ctrl_c_says_how_to_go_on(photographs: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    def press(what: str, done: int, _total: int) -> None:
        if (what, done) == ("preparing", 5):
            raise KeyboardInterrupt

    out = tmp_path / "store"
    with pytest.raises(Interrupted, match="stopped; what is done is kept") as caught:
        prepare([photographs], out, progress=press)
    assert caught.value.exit_code == 130
    prepare([photographs], out)
    assert content(out) == whole


def test_a_foreign_folder_is_not_written_into(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "pixels.u8").write_bytes(b"precious")
    with pytest.raises(UsageError, match="holds other files"):
        prepare([photographs], tmp_path)
    assert content(tmp_path) == {"pixels.u8": b"precious"}


def test_an_unwritable_place_is_one_error(photographs: Path) -> None:
    with pytest.raises(RepsrError, match="cannot write /dev/null/store: Not a directory"):
        prepare([photographs], Path("/dev/null/store"))


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_bytes(b"no photograph")
    with pytest.raises(UsageError, match=r"none of the 1 files .* first: cannot read .*broken\.png"):
        prepare([tmp_path / "in"], tmp_path / "store")
    claiming_png(tmp_path / "in" / "broken.png", 100)
    with pytest.raises(UsageError, match="none of the 1 files"):
        prepare([tmp_path / "in"], tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folders": []}, "no folder is given"),
        ({"folders": ["missing"]}, "no folder missing"),
        ({"scales": [1]}, r"scales are \(1,\)"),
        ({"scales": [9]}, r"scales are \(9,\)"),
        ({"reduction": 9}, "reduction is 9"),
        ({"min_side": 31}, "min_side is 31; expected 32"),
        ({"licences": ["a", "b"]}, "2 licences are given for 1 folders"),
    ],
)
def test_impossible_requests_are_refused(
    photographs: Path, tmp_path: Path, change: dict[str, list[str]], message: str
) -> None:
    folders = [Path(folder) for folder in change.pop("folders", [str(photographs)])]
    options: dict[str, object] = {**change}
    with pytest.raises(UsageError, match=message):
        prepare(folders, tmp_path / "store", **options)  # pyright: ignore[reportArgumentType] - wrong on purpose
    assert not (tmp_path / "store").exists()


def test_the_least_side_counts_after_the_reduction(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "large.jpg", scene(0, 150, 200))
    write_image(tmp_path / "in" / "small.png", scene(1, 64, 64))
    manifest = prepare([tmp_path / "in"], tmp_path / "store", reduction=3)
    assert [image.name for image in manifest.images] == ["small.png"]
    assert "67x50 pixels after its reduction by 3" in manifest.rejected[0].reason
    assert open_store(tmp_path / "store", 2).unreadable == (manifest.rejected[0].reason,)
