"""What decoders print belongs to the picture that it is about, however many threads decode; the rest is passed on."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.decoder_messages import with_messages
from repsr_deploy.imaging.image_bytes import decode_image
from tests.imaging.file_kinds import by_pillow


def test_threads_work_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=20)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(with_messages, barrier.wait) for _ in range(4)]
    assert sorted(run.result()[0] for run in runs) == [0, 1, 2, 3]
    assert all(run.result()[1] == [] for run in runs)


def test_who_was_not_alone_does_it_again(capfd: pytest.CaptureFixture[str]) -> None:
    """One prints; the other, which was there too, hears of nothing in the end; what others print is passed on."""
    barrier, calls = threading.Barrier(2, timeout=20), [0, 0]

    def work(number: int) -> int:
        calls[number] += 1
        if calls[number] == 1:
            barrier.wait()
        if number == 0:
            os.write(2, b"libpng warning: strange\n")
        os.write(2, b"progress\n")
        if calls[number] == 1:
            barrier.wait()
        return number

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(with_messages, partial(work, number)) for number in range(2)]
    assert [run.result() for run in runs] == [(0, ["libpng warning: strange"]), (1, [])]
    assert calls == [2, 2]
    assert capfd.readouterr().err == "progress\n" * 4
    os.write(2, b"libpng warning: not ours\n")
    assert capfd.readouterr().err == "libpng warning: not ours\n"


def test_lines_of_this_program_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    """They name formats and files, quote decoders, and may stand on one line with what a decoder says."""
    lines = (
        b"in/a.webp 80x64 -> out/a.jpeg 160x128 in 0.02 s\n"
        b"repsr-upscale: warning: a.jpg: JPEG holds no transparency; the image is put on white\n"
        b"repsr-upscale: warning: a.jpg is damaged in places: Corrupt JPEG data: bad Huffman code\n"
    )
    printed = lines + b"upscaling 3/75 Corrupt JPEG data: bad Huffman code\n"
    assert with_messages(lambda: os.write(2, printed))[1] == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == lines.decode() + "upscaling 3/75 "


def test_no_line_of_another_thread_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    """Whenever it is printed: also while the last thread that decodes gives stderr back."""
    lines = [f"line {number}\n" for number in range(3000)]
    printed = threading.Event()

    def decode() -> None:
        while not printed.is_set():
            assert with_messages(int) == (0, [])

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(decode) for _ in range(2)]
        for line in lines:
            os.write(2, line.encode())
        printed.set()
    assert [run.result() for run in runs] == [None, None]
    with_messages(int)
    assert sorted(capfd.readouterr().err.splitlines(keepends=True)) == sorted(lines)


def test_damage_is_said_of_the_picture_that_has_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = by_pillow("JPEG", quality=95)
    damaged = whole[: len(whole) // 2] + bytes(60) + whole[len(whole) // 2 + 60 :]
    caplog.set_level(logging.WARNING)
    with ThreadPoolExecutor(4) as pool:
        for number in range(100):
            pool.submit(decode_image, whole if number % 5 else damaged, name=f"picture {number}")
    said = [record.getMessage().split(" is damaged in places: ")[0] for record in caplog.records]
    assert sorted(said) == sorted(f"picture {number}" for number in range(0, 100, 5))
    assert capfd.readouterr().err == ""


def test_an_error_frees_the_way() -> None:
    def fail() -> None:
        os.write(2, b"libpng error: on the way\n")
        raise ImageFileError("planted")

    for _ in range(3):
        with pytest.raises(ImageFileError, match="planted"):
            with_messages(fail)
    assert with_messages(lambda: 5) == (5, [])
