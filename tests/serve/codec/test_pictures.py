"""What the codec's workers read and write is, byte for byte, what `decode_image` and `encode_image` do."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time

import numpy as np
import pytest

from repsr_deploy.errors import ImageFileError, UsageError
from repsr_deploy.imaging.container import UnknownFormatError, WebFormat, read_container
from repsr_deploy.imaging.image_bytes import decode_image, encode_image
from repsr_serve.buffers import Buffer
from repsr_serve.codec import Codec, Picture, SharedPicture
from tests.imaging.file_kinds import RGB, SRGB, animated, by_pillow, every_kind, png_header
from tests.serve.codec.processes import open_files

FORMATS: tuple[WebFormat, ...] = ("png", "jpeg", "webp")
NOISE = np.random.default_rng(0).integers(0, 256, (1200, 1100, 3), np.uint8)


async def read(codec: Codec, data: bytes) -> SharedPicture:
    with Buffer.of(data) as encoded:
        return await codec.decode(encoded, await codec.probe(encoded))


async def written(codec: Codec, picture: Picture, form: WebFormat, quality: int = 90) -> bytes:
    with await codec.encode(picture, form, quality) as encoded:
        return bytes(encoded.map())


@pytest.mark.parametrize("kind", every_kind())
def test_every_kind_of_file(runner: asyncio.Runner, codec: Codec, kind: str) -> None:
    data, container = every_kind()[kind], read_container(every_kind()[kind])

    async def job() -> None:
        with Buffer.of(data) as encoded:
            header = await codec.probe(encoded)
            picture = await codec.decode(encoded, header)
        assert (header.format, header.width, header.height) == (container.format, *container.seen_size)
        image = picture.image_hwc
        assert (header.channels, header.sample_bytes) == (1 if image.ndim == 2 else image.shape[2], image.itemsize)
        assert header.image_bytes == image.nbytes
        expected = decode_image(data)
        np.testing.assert_array_equal(image, expected.image_hwc)
        assert picture.icc_profile == expected.icc_profile
        picture.close()
        assert image.sum() == expected.image_hwc.sum()  # still there

    runner.run(job())


def test_hundreds_of_jobs_at_once(runner: asyncio.Runner, codec: Codec) -> None:
    """Small and large, good and bad, in any order: each gets its own result, and no descriptor is lost."""
    chance = random.Random(5)
    files = [*every_kind().values(), bytes(encode_image(NOISE, "jpeg")), bytes(encode_image(NOISE, "png"))]

    async def job(data: bytes, form: WebFormat, quality: int, cut: bool) -> None:
        if cut:
            with pytest.raises(ImageFileError, match="cut off"):
                await read(codec, data[:-30])
            return
        picture, expected = await read(codec, data), decode_image(data)
        np.testing.assert_array_equal(picture.image_hwc, expected.image_hwc)
        encoded = encode_image(expected.image_hwc, form, quality=quality, icc_profile=expected.icc_profile)
        plain = Picture(image_hwc=expected.image_hwc, icc_profile=expected.icc_profile)
        for source in (picture, plain):
            assert await written(codec, source, form, quality) == bytes(encoded)

    async def jobs() -> None:
        work = (
            job(chance.choice(files), chance.choice(FORMATS), chance.randrange(1, 101), chance.random() < 0.2)
            for _ in range(200)
        )
        await asyncio.gather(*work)

    runner.run(jobs())
    gc.collect()
    before = open_files()
    runner.run(jobs())
    gc.collect()
    assert open_files() == before
    assert codec.alive == 2
    assert codec.waiting == 0


def test_arrays_of_any_layout_in_memory(runner: asyncio.Runner, codec: Codec) -> None:
    images = [NOISE[::-1, ::2], NOISE[..., 1], NOISE[..., :1], np.dstack((NOISE, NOISE[..., 0])), RGB.swapaxes(0, 1)]
    for image in images:
        expected = bytes(encode_image(np.ascontiguousarray(image), "png"))
        assert runner.run(written(codec, Picture(image_hwc=image), "png")) == expected


def test_a_picture_that_is_made_in_shared_memory(runner: asyncio.Runner, codec: Codec) -> None:
    picture = SharedPicture.empty((*NOISE.shape[:2], 4), np.uint16, SRGB)
    picture.image_hwc[...] = np.random.default_rng(1).integers(0, 65536, picture.image_hwc.shape)
    expected = bytes(encode_image(picture.image_hwc, "png", icc_profile=SRGB))
    assert runner.run(written(codec, picture, "png")) == expected
    picture.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        runner.run(written(codec, picture, "png"))


def test_no_room_for_a_picture() -> None:
    with pytest.raises(MemoryError, match="no memory for samples"):
        SharedPicture.empty((2**30, 2**30, 3), np.uint16)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", UnknownFormatError, "the image: it is empty"),
        (b"GIF89a" + bytes(90), UnknownFormatError, "it starts with b'GIF89a"),
        (by_pillow("JPEG")[:-40], ImageFileError, "it is cut off after"),
        (png_header(0, 7) + b"\0\0\0\0IEND\xaeB`\x82", ImageFileError, "claims 0 x 7 pixels"),
    ],
)
def test_what_is_no_picture(
    runner: asyncio.Runner, codec: Codec, data: bytes, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        runner.run(read(codec, data))
    assert type(caught.value) is error


def test_damage_behind_the_header(runner: asyncio.Runner, codec: Codec) -> None:
    data = bytearray(by_pillow("WEBP", lossless=True))
    data[40:] = random.Random(0).randbytes(len(data) - 40)
    with pytest.raises(ImageFileError, match="cannot decode the image"):
        runner.run(read(codec, bytes(data)))


def test_a_bomb_is_known_by_its_header_and_not_decoded(runner: asyncio.Runner, codec: Codec) -> None:
    bomb = png_header(50_000, 60_000) + b"\0\0\0\0IEND\xaeB`\x82"

    async def job() -> None:
        with Buffer.of(bomb) as encoded:
            header = await codec.probe(encoded)
            assert (header.pixels, header.image_bytes) == (3_000_000_000, 9_000_000_000)
            with pytest.raises(ImageFileError, match="expected at most 536870912"):
                await codec.decode(encoded, header)

    runner.run(job())


def test_a_file_that_is_exchanged_after_its_header_was_read(runner: asyncio.Runner, codec: Codec) -> None:
    async def job() -> None:
        with Buffer.of(by_pillow("PNG", image=RGB[:9, :9])) as small, Buffer.of(by_pillow("PNG")) as large:
            header = await codec.probe(small)
            with pytest.raises(ImageFileError, match="expected at most 81"):
                await codec.decode(large, header)

    runner.run(job())


def test_what_cannot_be_written(runner: asyncio.Runner, codec: Codec) -> None:
    with pytest.raises(UsageError, match="quality is 101"):
        runner.run(codec.encode(Picture(image_hwc=RGB), "jpeg", 101))
    with pytest.raises(UsageError, match="image is float32"):
        runner.run(codec.encode(Picture(image_hwc=RGB.astype(np.float32)), "jpeg"))
    with pytest.raises(ImageFileError, match="WebP holds at most 16383"):
        runner.run(codec.encode(Picture(image_hwc=np.zeros((1, 16384), np.uint8)), "webp"))


def test_memory_is_limited_and_the_worker_lives_on() -> None:
    flat = np.full((6000, 5000, 3), 7, np.uint8)  # 90 MB
    data = bytes(encode_image(flat, "jpeg"))

    async def job() -> None:
        codec = Codec(workers=1, memory_bytes=2**26)
        await codec.start()
        pids = codec.pids
        for call in (read(codec, data), written(codec, Picture(image_hwc=flat), "webp")):
            with pytest.raises(ImageFileError, match="no memory"):
                await call
        np.testing.assert_array_equal((await read(codec, by_pillow("PNG"))).image_hwc, RGB)
        assert codec.pids == pids
        await codec.close()

    asyncio.run(job())


def test_remarks_are_logged_here(runner: asyncio.Runner, codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    runner.run(read(codec, animated("PNG")))
    assert "of a picture: 'the image is animated" in caplog.text


def test_callers_may_close_their_file_at_once(runner: asyncio.Runner, codec: Codec) -> None:
    async def job() -> None:
        encoded = Buffer.of(by_pillow("PNG"))
        header = await codec.probe(encoded)
        calls = [asyncio.ensure_future(codec.decode(encoded, header)) for _ in range(10)]
        await asyncio.sleep(0)
        encoded.close()
        for picture in await asyncio.gather(*calls):
            np.testing.assert_array_equal(picture.image_hwc, RGB)

    runner.run(job())


def test_the_event_loop_goes_on(runner: asyncio.Runner, codec: Codec) -> None:
    """While 12 megapixels are read, copied and written."""
    image = np.tile(NOISE, (3, 3, 1))
    data = bytes(encode_image(image, "jpeg"))
    bursts_s: list[float] = []

    async def beat() -> None:
        last = time.thread_time()  # of this thread alone, as others may use the processor, too
        while True:
            await asyncio.sleep(0.001)
            bursts_s.append(time.thread_time() - last)
            last = time.thread_time()

    async def job() -> None:
        heart = asyncio.ensure_future(beat())
        picture = await read(codec, data)
        assert picture.image_hwc.shape == image.shape
        await written(codec, Picture(image_hwc=image), "jpeg")
        heart.cancel()

    runner.run(job())
    assert max(bursts_s) < 0.02
    assert np.percentile(bursts_s, 99) < 0.005
