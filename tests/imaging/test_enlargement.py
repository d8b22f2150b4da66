"""What is asked for beside the model: sizes, self-ensemble, borders of textures, bits of samples."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.imaging.enlargement import Enlargement, enlarge, result_size
from repsr_deploy.imaging.samples import as_uint8
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.resize import imresize
from repsr_deploy.runtimes import Limits, Runtime, open_runtime
from tests.imaging.simple_models import Watched, nearest
from tests.runtimes.models import image_model, plain_model, spec_of

TURNS = [(turns, flip) for turns in range(4) for flip in (False, True)]


def runtime_of(scale: int = 2, colour: Any = "rgb") -> Runtime:
    return open_runtime(plain_model(spec_of(scale, 1, 4, colour)).SerializeToString(), "onnxruntime", threads=1)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(runtime_of())


@pytest.fixture(scope="module")
def images_only() -> Upscaler:
    """Of io `image`."""
    model = image_model(plain_model(spec_of(2, 1, 4)))
    return Upscaler(open_runtime(model.SerializeToString(), "onnxruntime", threads=1))


def picture(channels: int = 3, dtype: str = "uint8", height: int = 22, width: int = 30) -> Any:
    """A smooth one with an edge, and a soft alpha that is 0 in places; H x W for one channel."""
    rows, columns = np.indices((height, width))
    waves = [np.sin(rows / (3 + channel) + columns / 5 + channel) for channel in range(channels)]
    image = np.stack(waves, axis=-1) / 2.5 + 0.5 - 0.3 * (rows > columns)[..., None]
    if channels in (2, 4):
        image[..., -1] = np.clip(1.4 - np.hypot(rows - 10, columns - 14) / 9, 0, 1)
    full = {"uint8": 255, "uint16": 65535}[dtype]
    image = np.rint(image.clip(0, 1) * full).astype(dtype)
    return image[..., 0] if channels == 1 else image


def turned(image: Any, turns: int, flip: bool) -> Any:
    return np.rot90(image[:, ::-1] if flip else image, turns)


def turned_back(image: Any, turns: int, flip: bool) -> Any:
    image = np.rot90(image, -turns)
    return image[:, ::-1] if flip else image


# Sizes


def test_sizes_against_fractions() -> None:
    random = np.random.default_rng(0)
    half = Fraction(1, 2)
    for _ in range(300):
        width, height, wide, high = (int(value) for value in random.integers(1, 500, 4))
        ratios = Fraction(wide, width), Fraction(high, height)

        def size(ratio: Fraction, width: int = width, height: int = height) -> tuple[int, int]:
            return max(1, int(width * ratio + half)), max(1, int(height * ratio + half))

        def asked(size: tuple[int, int] = (width, height), **options: Any) -> tuple[int, int]:
            return result_size(size, Enlargement(**options), 2)

        assert asked() == (2 * width, 2 * height)
        assert asked(width=wide) == size(ratios[0])
        assert asked(height=high) == size(ratios[1])
        inside = asked(width=wide, height=high)
        assert inside == size(min(ratios))
        assert inside[0] <= wide
        assert inside[1] <= high
        assert wide in inside[:1] or high in inside[1:]
        assert asked(width=wide, height=high, fit="cover") == (wide, high)
        assert asked(width=wide, height=high, fit="stretch") == (wide, high)
        factor = float(random.integers(1, 64)) / 4
        assert asked(factor=factor) == size(Fraction(factor))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"factor": 0.3},
        {"factor": 3.7},
        {"width": 77},
        {"height": 200},
        {"width": 11},
        {"width": 90, "height": 90},
        {"width": 90, "height": 60, "fit": "cover"},
        {"width": 31, "height": 90, "fit": "stretch"},
        {"width": 33, "height": 20, "fit": "cover", "tta": True},
        {"width": 45, "seamless": "wrap"},
    ],
)
def test_a_result_has_the_size_that_is_said_beforehand(upscaler: Upscaler, options: dict[str, Any]) -> None:
    for channels in (1, 3, 4):
        image = picture(channels)
        made = enlarge(upscaler, image, Enlargement(**options))
        assert made.shape[1::-1] == result_size((30, 22), Enlargement(**options), 2)
        assert made.shape[2:] == image.shape[2:]
        assert made.flags.c_contiguous


def test_the_network_runs_until_it_reaches_both_sides(upscaler: Upscaler) -> None:
    image = picture()
    once = upscaler.upscale(image)
    twice = upscaler.upscale(once)
    for asked, expected in (
        (Enlargement(width=60), once),
        (Enlargement(width=60, height=40, fit="stretch"), imresize(once, output_size=(40, 60))),
        (Enlargement(width=20, height=45, fit="stretch"), imresize(twice, output_size=(45, 20))),
        (Enlargement(width=120), twice),
        (Enlargement(width=15), imresize(once, output_size=(11, 15))),
    ):
        np.testing.assert_array_equal(enlarge(upscaler, image, asked), expected)


def test_cover_is_cut_around_the_centre(upscaler: Upscaler) -> None:
    image = picture()  # 30 x 22
    whole = upscaler.upscale(image)  # 60 x 44
    made = enlarge(upscaler, image, Enlargement(width=60, height=33, fit="cover"))
    np.testing.assert_array_equal(made, whole[5:38])
    made = enlarge(upscaler, image, Enlargement(width=50, height=44, fit="cover"))
    np.testing.assert_array_equal(made, whole[:, 5:55])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": 2.0, "width": 4}, "both a factor and a size"),
        ({"factor": 0.0}, "factor is 0; expected a number above 0"),
        ({"factor": float("nan")}, "factor is nan"),
        ({"factor": 17.0}, "at most 16"),
        ({"width": 0}, "width of the result is 0; expected 1 to 1048576"),
        ({"height": -3}, "height of the result is -3"),
        ({"width": 2**20 + 1}, "width of the result is 1048577"),
        ({"width": 100, "fit": "cover"}, "fit is cover, and width and height are not both given"),
        ({"fit": "stretch"}, "fit is stretch"),
        ({"width": 9, "height": 9, "fit": "cover", "seamless": "wrap"}, "a texture that is cut no longer repeats"),
        ({"fit": "contain"}, "fit is 'contain'; expected one of inside, cover, stretch"),
        ({"seamless": "yes"}, "seamless is 'yes'"),
        ({"depth": "12"}, "depth is '12'; expected one of auto, 8, 16"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Enlargement(**options)


def test_a_size_far_above_the_picture_is_refused(upscaler: Upscaler) -> None:
    with pytest.raises(UsageError, match=r"image is 30 x 22 pixels, and 600 x 440 are asked for; expected at most 16"):
        enlarge(upscaler, picture(), Enlargement(width=600))


# Self-ensemble


def by_hand(runtime: Runtime, image: Any) -> Any:
    """The mean of float32 H x W x 3 over eight views, in float64."""
    total = np.zeros((2 * image.shape[0], 2 * image.shape[1], 3))
    for view in TURNS:
        batch = np.ascontiguousarray(turned(image, *view).transpose(2, 0, 1))[None]
        total += turned_back(runtime.run(batch)[0].transpose(1, 2, 0), *view)
    return total / 8


def test_the_ensemble_is_the_mean_rounded_once() -> None:
    runtime = runtime_of()
    image = picture()
    expected = by_hand(runtime, (image / np.float32(255)).astype(np.float32)) * 255
    made = enlarge(Upscaler(runtime), image, Enlargement(tta=True))
    assert np.abs(made - expected).max() < 0.501
    views = [turned_back(Upscaler(runtime).upscale(turned(image, *view)), *view) for view in TURNS]
    assert (np.rint(np.mean(views, axis=0)) != made).any()  # what a mean of pictures of 8 bits would be
    assert len({view.tobytes() for view in views}) == 8
    deep = enlarge(Upscaler(runtime), picture(dtype="uint16"), Enlargement(tta=True))
    assert deep.dtype == np.uint16
    expected = by_hand(runtime, (picture(dtype="uint16") / np.float32(65535)).astype(np.float32)) * 65535
    assert np.abs(deep - expected).max() < 0.6


@pytest.mark.parametrize("factor", [2.0, 3.0])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (2, "uint16"), (3, "uint8"), (4, "uint8")])
def test_an_ensemble_of_a_turned_picture_is_the_ensemble_turned(
    upscaler: Upscaler, channels: int, dtype: str, factor: float
) -> None:
    image = picture(channels, dtype)
    asked = Enlargement(tta=True, factor=factor)
    made = enlarge(upscaler, image, asked).astype(int)
    plain = upscaler.upscale(image, factor=factor).astype(int)
    for view in TURNS[1:]:
        again = turned_back(enlarge(upscaler, turned(image, *view), asked), *view)
        assert np.abs(again - made).max() <= 1
    again = turned_back(upscaler.upscale(turned(image, 1, True), factor=factor), 1, True)
    assert np.abs(again - plain).max() > 1  # without, this network does not care for the eye


def test_an_ensemble_by_tiles_is_the_whole_one() -> None:
    for channels in (3, 4):
        image = picture(channels, height=41, width=50)
        runtime = runtime_of()
        whole = enlarge(Upscaler(runtime, tile=1000), image, Enlargement(tta=True))
        np.testing.assert_array_equal(enlarge(Upscaler(runtime, tile=16), image, Enlargement(tta=True)), whole)


def test_an_ensemble_changes_nothing_where_there_is_nothing_to_choose() -> None:
    image = picture(4)
    image[..., 3] = 200
    upscaler = Upscaler(nearest())
    np.testing.assert_array_equal(
        enlarge(upscaler, image, Enlargement(tta=True)), image.repeat(2, axis=0).repeat(2, axis=1)
    )


def test_an_ensemble_of_a_luma_network_and_of_io_image(images_only: Upscaler) -> None:
    image = picture()
    luma = Upscaler(runtime_of(2, "y"))
    ensemble, single = enlarge(luma, image, Enlargement(tta=True)), luma.upscale(image)
    assert 0 < np.abs(ensemble.astype(int) - single).mean() < 40
    views = [turned_back(images_only.upscale(turned(image, *view)), *view).astype(float) for view in TURNS]
    made = enlarge(images_only, image, Enlargement(tta=True))
    np.testing.assert_array_equal(made, np.rint(np.mean(views, axis=0)))


def test_an_engine_takes_part_in_an_ensemble_where_it_takes_turned_pictures() -> None:
    image = picture(height=44, width=60)
    expected = enlarge(Upscaler(runtime_of()), image, Enlargement(tta=True))
    for height, width in (((20, 40), (16, 64)), ((32, 32), (32, 32))):
        engine = Watched(runtime_of(), Limits(count=(1, 1), height=height, width=width))
        np.testing.assert_array_equal(enlarge(Upscaler(engine), image, Enlargement(tta=True)), expected)
        for _, _, rows, columns in engine.shapes:
            assert height[0] <= rows <= height[1]
            assert width[0] <= columns <= width[1]
    engine = Watched(runtime_of(), Limits(count=(1, 1), height=(16, 40), width=(48, 64)))
    with pytest.raises(UsageError, match=r"heights 16 to 40 and widths 48 to 64, and a self-ensemble turns pictures"):
        enlarge(Upscaler(engine), image, Enlargement(tta=True))


def test_an_ensemble_runs_eight_times_and_constant_alpha_never() -> None:
    runtime = Watched(runtime_of())
    image = picture(4)
    image[..., 3] = 9
    calls: list[tuple[int, int]] = []
    made = enlarge(
        Upscaler(runtime), image, Enlargement(tta=True), progress=lambda done, todo: calls.append((done, todo))
    )
    assert len(runtime.shapes) == 8
    assert (made[..., 3] == 9).all()
    assert calls == [(22 * 30, 22 * 30)]


# Textures


@pytest.mark.parametrize("colour", ["rgb", "y"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint8"), (3, "uint16"), (4, "uint8")])
@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_a_shifted_texture_becomes_the_shifted_result(factor: float, channels: int, dtype: str, colour: Any) -> None:
    upscaler = Upscaler(runtime_of(2, colour), tile=16)
    image = picture(channels, dtype)
    asked = Enlargement(factor=factor, seamless="wrap")
    made, shift = enlarge(upscaler, image, asked), (5, -7)
    shifted = enlarge(upscaler, np.roll(image, shift, axis=(0, 1)), asked)
    there = tuple(int(by * factor) for by in shift)
    np.testing.assert_array_equal(shifted, np.roll(made, there, axis=(0, 1)))
    plain = upscaler.upscale(np.roll(image, shift, axis=(0, 1)), factor=factor)
    assert (plain != np.roll(upscaler.upscale(image, factor=factor), there, axis=(0, 1))).any()


@pytest.mark.parametrize("factor", [1.5, 3.0, 0.5])
def test_a_resized_texture_shifts_too(upscaler: Upscaler, factor: float) -> None:
    image = (picture() / 255).astype(np.float32)
    asked = Enlargement(factor=factor, seamless="wrap")
    shifted = enlarge(upscaler, np.roll(image, (4, -6), axis=(0, 1)), asked)
    expected = np.roll(enlarge(upscaler, image, asked), (int(4 * factor), int(-6 * factor)), axis=(0, 1))
    np.testing.assert_allclose(shifted, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(37, 53), (31, 70), (60, 45)])
@pytest.mark.parametrize("tta", [False, True])
def test_tiles_of_a_texture_have_no_seam(upscaler: Upscaler, size: tuple[int, int], tta: bool) -> None:
    """Whatever the ratio: what a single texture becomes is what each of 3 x 3 becomes, but at the outermost border."""
    image = picture(4)
    width, height = size
    one = Enlargement(width=width, height=height, fit="stretch", seamless="wrap", tta=tta)
    made = enlarge(upscaler, image, one)
    nine = dataclasses.replace(one, width=3 * width, height=3 * height, seamless="no")
    middle = enlarge(upscaler, np.tile(image, (3, 3, 1)), nine)[height : 2 * height, width : 2 * width]
    assert np.abs(made.astype(int) - middle).max() <= (1 if tta else 0)


def test_a_mirrored_texture_goes_on_as_in_a_mirror(upscaler: Upscaler) -> None:
    image = picture()
    large = np.pad(image, ((22, 22), (30, 30), (0, 0)), mode="symmetric")
    for factor in (2, 3):
        made = enlarge(upscaler, image, Enlargement(factor=factor, seamless="mirror"))
        expected = upscaler.upscale(large, factor=factor)[22 * factor : 44 * factor, 30 * factor : 60 * factor]
        if factor == 2:
            np.testing.assert_array_equal(made, expected)
        assert (made != upscaler.upscale(image, factor=factor)).any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 20)])
def test_a_texture_smaller_than_the_halo_repeats(upscaler: Upscaler, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    times = 31
    large = upscaler.upscale(np.tile(image, (times, times, 1)))
    rows, columns = 2 * shape[0], 2 * shape[1]
    middle = large[15 * rows : 16 * rows, 15 * columns : 16 * columns]
    np.testing.assert_array_equal(enlarge(upscaler, image, Enlargement(seamless="wrap")), middle)


# Bits


def test_16_bits_of_8_are_more_than_8(upscaler: Upscaler) -> None:
    image = picture()
    for factor in (None, 3.0, 4.0):
        made = enlarge(upscaler, image, Enlargement(depth="16", factor=factor))
        assert made.dtype == np.uint16
        assert len(np.unique(made)) > 1000
        exact = upscaler.upscale((image / np.float32(255)).astype(np.float32), factor=factor)
        assert np.abs(made - exact.astype(float) * 65535).max() <= 0.51
    np.testing.assert_array_equal(
        as_uint8(enlarge(upscaler, image, Enlargement(depth="16"))).astype(int), upscaler.upscale(image)
    )


def test_16_bits_become_8_by_rounding(upscaler: Upscaler) -> None:
    image = picture(4, "uint16")
    made = enlarge(upscaler, image, Enlargement(depth="8"))
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, as_uint8(upscaler.upscale(image)))
    for depth in ("auto", "16"):
        np.testing.assert_array_equal(enlarge(upscaler, image, Enlargement(depth=depth)), upscaler.upscale(image))
    same = enlarge(upscaler, picture(), Enlargement(depth="8"))
    np.testing.assert_array_equal(same, upscaler.upscale(picture()))


def test_a_model_of_8_bits_says_so(images_only: Upscaler) -> None:
    for image, depth in ((picture(), "16"), (picture(dtype="uint16"), "16"), (picture(dtype="uint16"), "auto")):
        with pytest.raises(UsageError, match=r"uint16 samples, and .* gives 8 bits \(io image\); expected --depth 8"):
            enlarge(images_only, image, Enlargement(depth=depth))  # pyright: ignore[reportArgumentType]
    made = enlarge(images_only, picture(dtype="uint16"), Enlargement(depth="8"))
    np.testing.assert_array_equal(made, images_only.upscale(as_uint8(picture(dtype="uint16"))))
