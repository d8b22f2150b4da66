"""Animations frame by frame: what is seen, how long, how often; and files that are damaged."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from repsr_deploy.errors import ImageFileError, RepsrError
from repsr_deploy.imaging.animation import AnimationOutcome, is_animated, upscale_animation
from repsr_deploy.imaging.animation.canvas import composited
from repsr_deploy.imaging.animation.read import read_animation
from repsr_deploy.imaging.enlargement import Enlargement, enlarge
from repsr_deploy.imaging.image_file import read_picture
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime
from tests.imaging.animation_files import Frames, Part, apng, loop, saved, seen, times, webp
from tests.imaging.file_kinds import SRGB
from tests.imaging.simple_models import Watched, nearest
from tests.runtimes.models import plain_model, spec_of

PLAIN = Enlargement()
WIDTH, HEIGHT = 21, 14
TIMES_MS = [100, 30, 0, 250, 20]


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(open_runtime(plain_model(spec_of(2, 1, 4)).SerializeToString(), "onnxruntime", threads=1))


def frames_of(count: int = 5, channels: int = 3) -> Frames:
    """Random ones; alpha is 0 or 255."""
    random = np.random.default_rng(count + channels)
    frames = [random.integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8) for _ in range(count)]
    for frame in frames:
        if channels == 4:
            frame[..., 3] = np.where(frame[..., 3] > 90, 255, 0)
    return frames


def source_of(folder: Path, form: str, frames: Frames, **options: Any) -> Path:
    kept: dict[str, Any] = {"webp": {"lossless": True, "exact": True}, "gif": {"disposal": 2}}.get(form, {})
    return saved(folder / f"source.{form}", frames, **{"duration": TIMES_MS[: len(frames)], **kept, **options})


def run(source: Path, target: Path, upscaler: Upscaler, asked: Enlargement = PLAIN, **options: Any) -> AnimationOutcome:
    chosen: dict[str, Any] = {"quality": 95, "max_pixels": None, **options}
    return upscale_animation(source, target, upscaler, asked, **chosen)


def premultiplied(image: Any) -> Any:
    return np.rint(image[..., :3] * (image[..., 3:] / 255)).astype(int)


# What is seen


@pytest.mark.parametrize("asked", [PLAIN, Enlargement(factor=3.0, tta=True)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("form", ["png", "webp", "gif"])
def test_every_frame_is_the_frame_enlarged(
    tmp_path: Path, upscaler: Upscaler, form: str, channels: int, asked: Enlargement
) -> None:
    source = source_of(tmp_path, form, frames_of(channels=channels))
    target = tmp_path / "target.png"
    size = (42, 28) if asked == PLAIN else (63, 42)
    assert run(source, target, upscaler, asked) == AnimationOutcome(size=(21, 14), new_size=size, frames=5)
    made, before = seen(target), seen(source)
    assert len(made) == 5
    assert times(target) == TIMES_MS
    for after, frame in zip(made, before, strict=True):
        expected = enlarge(upscaler, frame, asked)
        np.testing.assert_array_equal(after[..., 3], expected[..., 3])
        # what lies under full transparency is nobody's
        np.testing.assert_array_equal(premultiplied(after), premultiplied(expected))
    with Pillow.open(target) as file:
        assert file.mode == ("RGBA" if channels == 4 else "RGB")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("form", ["png", "gif"])
def test_webp_and_gif_hold_the_enlarged_frames_nearly(tmp_path: Path, form: str, channels: int) -> None:
    rows, columns = np.indices((40, 60))
    frames: Frames = []
    for shift in (0, 3, 9, 10):
        frame = np.stack([rows * 6, columns * 4, (rows + columns) * 2 + shift, 255 + 0 * rows], axis=-1).astype(
            np.uint8
        )
        frame[10:20, 5 + shift : 20 + shift] = (250, 30, 10, 255)
        frame[25:35, 50 - shift :, 3] = 0
        frames.append(frame[..., :channels])
    source = source_of(tmp_path, form, frames, duration=[70, 80, 90, 100])
    before = seen(source)
    for kind in ("webp", "gif"):
        target = tmp_path / f"target.{kind}"
        run(source, target, Upscaler(nearest()))
        made = seen(target)
        assert times(target) == [70, 80, 90, 100]
        for after, frame in zip(made, before, strict=True):
            expected = frame.repeat(2, axis=0).repeat(2, axis=1)
            np.testing.assert_array_equal(after[..., 3] > 127, expected[..., 3] > 127)
            assert np.abs(premultiplied(after) - premultiplied(expected)).mean() < 4


def test_gif_keeps_few_colours_exactly(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    colours = random.integers(0, 256, (200, 3), np.uint8)
    frames = [colours[random.integers(0, 200, (HEIGHT, WIDTH))] for _ in range(3)]
    frames.append(frames[-1].copy())
    frames[-1][4:6, 7:9] = colours[0]
    source = source_of(tmp_path, "png", frames)
    run(source, tmp_path / "target.gif", Upscaler(nearest()))
    for after, frame in zip(seen(tmp_path / "target.gif", "RGB"), frames, strict=True):
        np.testing.assert_array_equal(after, frame.repeat(2, axis=0).repeat(2, axis=1))


def parts_of(seed: int, alphas: tuple[int, ...]) -> list[Part]:
    """Random pieces at random even places, the first one as large as the picture."""
    random = np.random.default_rng(seed)
    parts: list[Part] = []
    for number in range(7):
        left, top = (0, 0) if number == 0 else (2 * int(random.integers(0, 8)), 2 * int(random.integers(0, 5)))
        width = WIDTH if number == 0 else int(random.integers(1, WIDTH - left + 1))
        height = HEIGHT if number == 0 else int(random.integers(1, HEIGHT - top + 1))
        image = random.integers(0, 256, (height, width, 4), np.uint8)
        image[..., 3] = random.choice(alphas, (height, width))
        delay = (int(random.integers(1, 99)), 1000)
        disposal, over = int(random.integers(0, 2)), bool(random.integers(0, 2))
        parts.append(Part(image=image, left=left, top=top, disposal=disposal, over=over, delay=delay))
    return parts


def by_hand(parts: list[Part]) -> Frames:
    """PNG's rules in premultiplied float64, rounded after every frame."""
    canvas = np.zeros((HEIGHT, WIDTH, 4))
    frames: Frames = []
    for part in parts:
        before = canvas.copy()
        height, width = part.image.shape[:2]
        place = canvas[part.top : part.top + height, part.left : part.left + width]
        front = part.image.astype(float)
        if part.over:
            share, behind = front[..., 3:] / 255, place[..., 3:] / 255
            alpha = share + behind * (1 - share)
            light = front[..., :3] * share + place[..., :3] * behind * (1 - share)
            place[..., :3] = np.rint(np.divide(light, alpha, out=np.zeros_like(light), where=alpha > 0))
            place[..., 3:] = np.rint(alpha * 255)
        else:
            place[...] = front
        frames.append(canvas.copy())
        if part.disposal == 2:
            canvas = before
        elif part.disposal == 1:
            place[...] = 0
    return frames


@pytest.mark.parametrize("seed", range(4))
def test_png_pieces_are_put_together_by_the_standard(tmp_path: Path, seed: int) -> None:
    """Half-transparent ones, too, which Pillow 13 puts together wrongly."""
    parts = parts_of(seed, (0, 40, 128, 255))
    parts[3:5] = [replace(part, disposal=2) for part in parts[3:5]]
    path = tmp_path / "a.png"
    path.write_bytes(apng((WIDTH, HEIGHT), parts))
    for made, expected in zip(composited(read_animation(path, max_pixels=None)), by_hand(parts), strict=True):
        assert np.abs(premultiplied(made) - premultiplied(expected)).max() <= 1
        np.testing.assert_array_equal(made[..., 3], expected[..., 3])


@pytest.mark.parametrize("seed", range(4))
def test_webp_pieces_are_put_together_as_libwebp_does(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(webp((WIDTH, HEIGHT), parts_of(seed, (0, 40, 128, 255))))
    for made, expected in zip(composited(read_animation(path, max_pixels=None)), seen(path), strict=True):
        assert np.abs(made[..., 3].astype(int) - expected[..., 3]).max() <= 1
        assert np.abs(premultiplied(made) - premultiplied(expected)).max() <= 2


@pytest.mark.parametrize("disposal", [0, 1, 2, 3, [2, 0, 3, 1, 2]])
def test_gif_pieces_are_put_together_as_pillow_does(tmp_path: Path, disposal: Any) -> None:
    frames = [Pillow.fromarray(frame).quantize(200) for frame in frames_of(channels=4)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], disposal=disposal, duration=50)
    for made, expected in zip(composited(read_animation(path, max_pixels=None)), seen(path), strict=True):
        np.testing.assert_array_equal(made[..., 3], expected[..., 3])
        np.testing.assert_array_equal(premultiplied(made), premultiplied(expected))


def test_16_bits_and_gray_stay(tmp_path: Path, upscaler: Upscaler) -> None:
    random = np.random.default_rng(0)
    for shape, dtype in (((HEIGHT, WIDTH, 3), "uint16"), ((HEIGHT, WIDTH), "uint8"), ((HEIGHT, WIDTH), "uint16")):
        images = [random.integers(0, np.iinfo(dtype).max, shape).astype(dtype) for _ in range(2)]
        source, target = tmp_path / "a.png", tmp_path / "b.png"
        source.write_bytes(apng((WIDTH, HEIGHT), [Part(image=image) for image in images]))
        run(source, target, upscaler)
        made = list(composited(read_animation(target, max_pixels=None)))
        for after, image in zip(made, images, strict=True):
            np.testing.assert_array_equal(np.squeeze(after[..., :-1]), upscaler.upscale(image))
        still = read_picture(target).image_hwc
        assert still.dtype == dtype
        assert still.ndim == len(shape)
        run(source, tmp_path / "c.webp", upscaler)
        assert len(seen(tmp_path / "c.webp")) == 2


# How long and how often


@pytest.mark.parametrize("to", ["png", "webp", "gif"])
@pytest.mark.parametrize(
    ("form", "written", "plays"),
    [("gif", None, 1), ("gif", 0, 0), ("gif", 3, 4), ("webp", 0, 0), ("webp", 1, 1), ("webp", 7, 7), ("png", 2, 2)],
)
def test_how_often_it_is_shown(
    tmp_path: Path, upscaler: Upscaler, form: str, written: int | None, plays: int, to: str
) -> None:
    options = {} if written is None else {"loop": written}
    run(source_of(tmp_path, form, frames_of(2), **options), tmp_path / f"a.{to}", upscaler)
    expected = {0: 0, 1: None}.get(plays, plays - 1) if to == "gif" else plays
    assert loop(tmp_path / f"a.{to}") == expected


def test_durations_are_the_nearest_that_a_format_knows(tmp_path: Path, upscaler: Upscaler) -> None:
    delays = [(1, 30), (1, 60), (0, 7), (1001, 24000), (3, 1000), (65535, 1), (5, 0)]
    parts = [Part(image=frame, delay=delay) for frame, delay in zip(frames_of(7), delays, strict=True)]
    source = tmp_path / "a.png"
    source.write_bytes(apng((WIDTH, HEIGHT), parts))
    exact = [Fraction(above, below or 100) for above, below in delays]
    for extension in ("png", "webp", "gif"):
        run(source, tmp_path / f"b.{extension}", upscaler)
    assert read_animation(tmp_path / "b.png", max_pixels=None).durations_s == tuple(exact)
    for extension, unit_ms in (("webp", 1), ("gif", 10)):
        made = times(tmp_path / f"b.{extension}")
        starts, right = np.cumsum(made[:5]), [float(sum(exact[:number]) * 1000) for number in range(1, 6)]
        assert np.abs(starts - right).max() <= unit_ms / 2
        assert made[2] == 0
    assert made[5] == 655350


def test_equal_frames_are_enlarged_once_and_stay(tmp_path: Path) -> None:
    first, second, third = frames_of(3)
    parts = [
        Part(image=image, delay=(number, 10))
        for number, image in enumerate((first, first, second, second, third, first))
    ]
    source = tmp_path / "a.png"
    source.write_bytes(apng((WIDTH, HEIGHT), parts))
    before = seen(source, "RGB")
    for extension in ("png", "webp", "gif"):
        runtime = Watched(nearest())
        calls: list[tuple[int, int]] = []

        def report(done: int, todo: int, calls: list[tuple[int, int]] = calls) -> None:
            calls.append((done, todo))

        outcome = run(source, tmp_path / f"b.{extension}", Upscaler(runtime), progress=report)
        assert outcome.frames == 6
        assert len(runtime.shapes) == 4
        assert times(tmp_path / f"b.{extension}") == [0, 100, 200, 300, 400, 500]
        assert calls == [(WIDTH * HEIGHT * number, WIDTH * HEIGHT * 6) for number in range(1, 7)]
        made = seen(tmp_path / f"b.{extension}", "RGB")
        np.testing.assert_array_equal(made[1], made[0])
        np.testing.assert_array_equal(made[3], made[2])
        if extension == "png":
            for after, frame in zip(made, before, strict=True):
                np.testing.assert_array_equal(after, frame.repeat(2, axis=0).repeat(2, axis=1))


# What is kept beside the frames


def _with_xmp(packet: bytes) -> PngInfo:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet.decode())
    return texts


@pytest.mark.parametrize("form", ["png", "webp"])
def test_profile_exif_and_xmp_are_kept(
    tmp_path: Path, upscaler: Upscaler, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    options = {"xmp": packet} if form == "webp" else {"pnginfo": _with_xmp(packet)}
    source = source_of(tmp_path, form, frames_of(2), icc_profile=SRGB, exif=exif, **options)
    before = seen(source, "RGB")
    for extension in ("png", "webp"):
        target = tmp_path / f"a.{extension}"
        outcome = run(source, target, upscaler)
        assert (outcome.size, outcome.new_size) == ((14, 21), (28, 42))
        with Pillow.open(target) as file:
            assert file.info["icc_profile"] == SRGB
            kept = file.getexif()
            assert (kept[0x0112], kept[0x010F]) == (1, "Camera")
            assert file.size == (28, 42)
            assert b"adobe:ns:meta/" in file.info["xmp"]
    for after, frame in zip(seen(tmp_path / "a.png", "RGB"), before, strict=True):
        np.testing.assert_array_equal(after, upscaler.upscale(np.rot90(frame, -1)))
    run(source, tmp_path / "a.gif", upscaler)
    assert "GIF holds no ICC profile, EXIF or XMP; they are left out" in caplog.text


def test_a_still_picture_for_old_programs_is_kept_in_png(
    tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    hidden, first, second = frames_of(3)
    source = tmp_path / "a.png"
    source.write_bytes(apng((WIDTH, HEIGHT), [Part(image=first), Part(image=second)], hidden=hidden))
    assert run(source, tmp_path / "b.png", upscaler).frames == 2
    with Pillow.open(tmp_path / "b.png") as file:
        assert file.info["default_image"] is True
    for made, frame in zip(seen(tmp_path / "b.png", "RGB"), (hidden, first, second), strict=True):
        np.testing.assert_array_equal(made, upscaler.upscale(frame))
    assert not caplog.records
    np.testing.assert_array_equal(read_picture(tmp_path / "b.png").image_hwc, upscaler.upscale(hidden))
    run(source, tmp_path / "b.webp", upscaler)
    assert len(seen(tmp_path / "b.webp")) == 2
    assert "b.webp: the still picture for programs that know no animations is left out" in caplog.text


def test_a_format_of_one_picture_gets_the_first_frame(
    tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(tmp_path, "webp", frames_of(3), icc_profile=SRGB)
    assert run(source, tmp_path / "a.tif", upscaler).frames == 1
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.image_hwc, upscaler.upscale(seen(source, "RGB")[0]))
    assert picture.icc_profile == SRGB
    assert "holds one picture: of the 3 frames of" in caplog.text


def test_one_frame_is_a_still_picture_but_in_gif(tmp_path: Path, upscaler: Upscaler) -> None:
    source = saved(tmp_path / "a.gif", frames_of(1))
    for extension in ("png", "webp", "gif"):
        assert run(source, tmp_path / f"b.{extension}", upscaler).frames == 1
        assert is_animated(tmp_path / f"b.{extension}") is False
        with Pillow.open(tmp_path / f"b.{extension}") as file:
            assert file.size == (42, 28)


def test_what_gif_loses_is_said(tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture) -> None:
    parts = [Part(image=part.image, delay=(1, 100)) for part in parts_of(0, (40, 255))[:1] * 2]
    (tmp_path / "a.png").write_bytes(apng((WIDTH, HEIGHT), parts))
    run(tmp_path / "a.png", tmp_path / "a.gif", upscaler)
    for words in ("256 colours a frame", "no half transparency", "shorter than 20 ms for 100 ms"):
        assert words in caplog.text
    caplog.clear()
    frames = [np.full((HEIGHT, WIDTH, 3), shade, np.uint8) for shade in (10, 200)]
    run(source_of(tmp_path, "png", frames), tmp_path / "b.gif", Upscaler(nearest()))
    assert not caplog.records


# Files


def test_animations_are_known_by_content(tmp_path: Path) -> None:
    for form in ("png", "webp", "gif"):
        assert is_animated(source_of(tmp_path, form, frames_of(2)))
        assert not is_animated(saved(tmp_path / f"still.{form}", frames_of(1)))
        renamed = tmp_path / "renamed.jpg"
        renamed.write_bytes((tmp_path / f"source.{form}").read_bytes())
        assert is_animated(renamed)
        data = renamed.read_bytes()
        for length in (0, 3, 12, 20, 31, len(data) // 2):
            renamed.write_bytes(data[:length])
            is_animated(renamed)
    renamed.write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    assert not is_animated(renamed)
    with pytest.raises(ImageFileError, match=r"cannot read .*renamed.jpg: it starts with .* expected an animated PNG"):
        read_animation(renamed, max_pixels=None)


def test_a_picture_above_the_limit_is_not_decoded(tmp_path: Path, upscaler: Upscaler) -> None:
    for form in ("png", "webp", "gif"):
        source = source_of(tmp_path, form, frames_of(2))
        run(source, tmp_path / "a.png", upscaler, max_pixels=21 * 14)
        with pytest.raises(ImageFileError, match=rf"source.{form} claims 21 x 14 pixels; expected at most 293 in all"):
            run(source, tmp_path / "b.png", upscaler, max_pixels=293)


def test_frames_are_not_gathered(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (70, 60, 3), np.uint8) for _ in range(16)]
    source = source_of(tmp_path, "png", frames, duration=40)
    upscaler = Upscaler(nearest())
    frame_bytes = 140 * 120 * 4
    for extension in ("png", "webp", "gif"):
        run(source, tmp_path / f"a.{extension}", upscaler)  # what is imported and made once
        tracemalloc.start()
        run(source, tmp_path / f"a.{extension}", upscaler)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < source.stat().st_size + 9 * frame_bytes  # all of them would take 16, and the sources 4


@pytest.mark.parametrize("form", ["png", "webp", "gif"])
def test_a_file_that_ends_early_is_refused_before_the_work(tmp_path: Path, form: str) -> None:
    source = source_of(tmp_path, form, frames_of(4))
    data = source.read_bytes()
    target = tmp_path / "target.png"
    target.write_bytes(b"there before")
    runtime = Watched(nearest())
    for share in (0.1, 0.4, 0.7, 0.97):
        source.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageFileError, match=r"cannot read .*source.* cut off"):
            run(source, target, Upscaler(runtime))
    assert not runtime.shapes
    assert target.read_bytes() == b"there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, target.name]


def test_a_gif_without_its_last_byte_is_whole_and_that_is_said(
    tmp_path: Path, upscaler: Upscaler, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(tmp_path, "gif", frames_of(3))
    source.write_bytes(source.read_bytes()[:-1])
    assert run(source, tmp_path / "a.webp", upscaler).frames == 3
    assert "has no end mark: it may have had more than its 3 frames" in caplog.text


def test_errors_name_the_frame(tmp_path: Path, upscaler: Upscaler) -> None:
    source = tmp_path / "a.png"
    images = frames_of(4)

    def refused(parts: list[Part], words: str, change: tuple[str, int, int, int] | None = None) -> None:
        """`change`: kind of a chunk, which of them, which byte of its body, and what that becomes."""
        data = bytearray(apng((WIDTH, HEIGHT), parts))
        if change is not None:
            kind, which, offset, value = change
            data[nth(data, kind.encode(), which) + 4 + offset] = value
        source.write_bytes(with_checksums(data))
        with pytest.raises(ImageFileError, match=words):
            run(source, tmp_path / "b.png", upscaler)

    parts = [Part(image=image) for image in images]
    refused([*parts[:2], Part(image=images[2], left=1)], "frame 3 is damaged: 21 x 14 pixels at 1, 0")
    refused([parts[0], Part(image=images[1], disposal=7)], "frame 2 is damaged: .* disposal 7 make no sense")
    refused([*parts[:3], *parts[:1]], "frame 2 is damaged: part 9 comes where 1 was expected", ("fcTL", 1, 3, 9))
    refused([*parts[:2], Part(image=images[2][:5, :5])], "frame 3 of 3 is damaged: ", ("fcTL", 2, 7, 13))
    gif = source_of(tmp_path, "gif", images)
    data = bytearray(gif.read_bytes())
    descriptor = data.index(b"\x2c", nth(data, b"\x21\xf9\x04", 2) + 8)
    data[descriptor + 10 + 3 * 2 ** ((data[descriptor + 9] & 7) + 1)] = 13  # size of codes, 2 to 8
    gif.write_bytes(data)
    with pytest.raises(ImageFileError, match=r"cannot decode .*source.gif: frame 3 of 4 is damaged: "):
        run(gif, tmp_path / "b.png", upscaler)
    assert not (tmp_path / "b.png").exists()


def nth(data: bytes | bytearray, part: bytes, number: int) -> int:
    """Where a part starts, counted from 0."""
    at = -1
    for _ in range(number + 1):
        at = data.index(part, at + 1)
    return at


def with_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks have been changed, with their checksums set right as far as it can be walked."""
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return data


@pytest.mark.parametrize("form", ["png", "webp", "gif"])
def test_damage_is_an_error_and_never_more(tmp_path: Path, form: str) -> None:
    """Random bytes changed, with right checksums, and pieces left out; what can still be read is read."""
    source = source_of(tmp_path, form, frames_of(3, channels=4))
    data = source.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(int(random.integers(1, 4))):
            broken[int(random.integers(8, len(broken)))] = int(random.integers(0, 256))
        if random.random() < 0.3:
            start = int(random.integers(8, len(broken)))
            del broken[start : start + int(random.integers(1, 40))]
        if form == "png":
            with_checksums(broken)
        source.write_bytes(broken)
        is_animated(source)
        try:
            for _ in composited(read_animation(source, max_pixels=10**6)):
                pass
        except RepsrError:
            refused += 1
    assert 20 < refused < 150


def test_stopping_leaves_nothing(tmp_path: Path, upscaler: Upscaler) -> None:
    source = source_of(tmp_path, "webp", frames_of(4))

    def stop(done: int, todo: int) -> None:
        if done > todo // 2:
            raise KeyboardInterrupt

    for extension in ("png", "webp", "gif"):
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / f"a.{extension}", upscaler, progress=stop)
    assert list(tmp_path.iterdir()) == [source]


def test_too_large_for_a_format(tmp_path: Path) -> None:
    wide = [np.full((1, 5000, 3), shade, np.uint8) for shade in (1, 2)]
    source = source_of(tmp_path, "png", wide)
    upscaler = Upscaler(nearest())
    with pytest.raises(ImageFileError, match=r"80000 x 16 pixels; GIF holds at most 65535 a side"):
        run(source, tmp_path / "a.gif", upscaler, Enlargement(factor=16.0))
    with pytest.raises(ImageFileError, match=r"20000 x 4 pixels; WebP holds at most 16383 a side"):
        run(source, tmp_path / "a.webp", upscaler, Enlargement(factor=4.0))
