"""The upscaler over every type and layout of image, tiled and untiled, and what it refuses."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
from onnx import numpy_helper

from repsr_deploy.errors import ModelFileError, RepsrError, RuntimeUnavailableError, UsageError
from repsr_deploy.imaging import chroma
from repsr_deploy.imaging.memory import bytes_per_pixel
from repsr_deploy.imaging.tiling import Tile
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.colour import rgb_from_ycbcr, ycbcr_from_rgb
from repsr_deploy.metrics.resize import imresize
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.runtimes import Limits, Runtime, open_runtime
from repsr_deploy.runtimes.base import CheckedRuntime
from tests.runtimes.here import assert_same_pictures, every_runtime
from tests.runtimes.models import features_model, image_model, plain_model, spec_of, with_info


@lru_cache
def runtime_of(scale: int = 2, colour: Any = "rgb", seed: int = 0, name: str = "onnxruntime") -> Runtime:
    return open_runtime(plain_model(spec_of(scale, 2, 8, colour), seed=seed).SerializeToString(), name)


def photograph(dtype: str = "uint8") -> Any:
    image = skimage.data.astronaut()[30:121, 170:263]
    return {"uint8": image, "uint16": image.astype(np.uint16) * 257, "float32": (image / 255).astype(np.float32)}[dtype]


def direct(runtime: Runtime, image_hwc: Any) -> Any:
    """The network alone, on float32 H x W x C in 0..1."""
    return runtime.run(np.ascontiguousarray(image_hwc.transpose(2, 0, 1))[None])[0].transpose(1, 2, 0)


def layouts(dtype: str) -> dict[str, Any]:
    rgb = photograph(dtype)
    gray = np.ascontiguousarray(rgb[..., 1])
    rows, columns = np.indices(gray.shape)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    disc = np.clip(1.5 - np.hypot(rows - 45, columns - 46) / 30, 0, 1)  # opaque inside, soft, invisible outside
    alpha = (disc * full).astype(dtype)
    return {
        "gray": gray,
        "gray1": gray[..., None],
        "gray alpha": np.stack([gray, alpha], axis=-1),
        "rgb": rgb,
        "rgba": np.concatenate([rgb, alpha[..., None]], axis=-1),
    }


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_rgb_is_the_network_rounded_half_to_even(dtype: str, scale: int, name: str) -> None:
    runtime = runtime_of(scale, name=name)
    image = photograph(dtype)
    full = {"uint8": np.float32(255), "uint16": np.float32(65535), "float32": np.float32(1)}[dtype]
    expected = direct(runtime, (image / full).astype(np.float32)) * full
    if dtype != "float32":
        expected = np.rint(expected).astype(dtype)
    actual = Upscaler(runtime, tile=40).upscale(image)
    assert actual.dtype == image.dtype
    assert_same_pictures(actual, expected, exact=name != "native" or dtype != "uint8")


@pytest.mark.parametrize("colour", ["rgb", "y"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", ["gray", "gray1", "gray alpha", "rgb", "rgba"])
@pytest.mark.parametrize("name", every_runtime())
def test_every_layout_is_kept_and_tiles_change_no_bit(name: str, layout: str, dtype: str, colour: Any) -> None:
    image = layouts(dtype)[layout]
    before = image.copy()
    for scale in (2, 3):
        runtime = runtime_of(scale, colour, name=name)
        untiled = Upscaler(runtime, tile=1000).upscale(image)
        assert untiled.dtype == image.dtype
        assert untiled.shape == (image.shape[0] * scale, image.shape[1] * scale, *image.shape[2:])
        for tile in (16, 33):
            assert Upscaler(runtime, tile=tile).upscale(image).tobytes() == untiled.tobytes()
    np.testing.assert_array_equal(image, before)


def test_a_view_of_an_image_is_an_image() -> None:
    upscaler = Upscaler(runtime_of())
    image = photograph()
    np.testing.assert_array_equal(upscaler.upscale(image[::-1, ::2]), upscaler.upscale(image[::-1, ::2].copy()))
    assert upscaler.upscale(image[:1, :1]).shape == (2, 2, 3)


def test_gray_is_the_mean_of_three_equal_planes() -> None:
    runtime = runtime_of()
    gray = layouts("float32")["gray"]
    expected = direct(runtime, np.repeat(gray[..., None], 3, axis=2)).mean(axis=2)
    np.testing.assert_allclose(Upscaler(runtime).upscale(gray), expected, atol=1e-6)


def test_luma_network_gets_luma_and_bicubic_does_colour() -> None:
    runtime = runtime_of(3, "y")
    image = photograph("float32")
    ycbcr = ycbcr_from_rgb(image)
    chroma_hwc = imresize(ycbcr[..., 1:], 3)
    expected = rgb_from_ycbcr(np.concatenate([direct(runtime, ycbcr[..., :1]), chroma_hwc], axis=2)).clip(0, 1)
    np.testing.assert_allclose(Upscaler(runtime).upscale(image), expected, atol=2e-6)


def test_luma_network_on_gray_keeps_the_range() -> None:
    """A gray image through a luma network equals the luma of the same image as RGB."""
    runtime = runtime_of(2, "y")
    gray = layouts("float32")["gray"]
    rgb = Upscaler(runtime).upscale(np.repeat(gray[..., None], 3, axis=2))
    np.testing.assert_allclose(Upscaler(runtime).upscale(gray), rgb.mean(axis=2), atol=2e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_chroma_is_bicubic(scale: int) -> None:
    plane = np.random.default_rng(scale).random((13, 6), dtype=np.float32)
    np.testing.assert_allclose(
        chroma.enlarge(plane, scale), imresize(plane, output_size=(13 * scale, 6 * scale)), atol=1e-6
    )


@pytest.mark.parametrize("name", every_runtime())
def test_opaque_and_constant_alpha_change_nothing(name: str) -> None:
    """Also where a runtime takes images without alpha in a way of its own."""
    runtime = runtime_of(name=name)
    rgb = photograph()
    for value in (255, 128, 1):
        rgba = np.concatenate([rgb, np.full_like(rgb[..., :1], value)], axis=2)
        output = Upscaler(runtime, tile=40).upscale(rgba)
        assert_same_pictures(output[..., :3], Upscaler(runtime).upscale(rgb), exact=name != "native")
        assert (output[..., 3] == value).all()


def test_alpha_does_not_ring() -> None:
    image = layouts("uint8")["rgba"]
    image[..., 3] = np.where(image[..., 3] > 100, 200, 30)
    alpha = Upscaler(runtime_of(3)).upscale(image)[..., 3]
    assert alpha.min() >= 30
    assert alpha.max() <= 200
    assert np.unique(alpha)[1] > 30  # and there is something between


@pytest.mark.parametrize(
    ("factor", "size"),
    [(None, (182, 186)), (2, (182, 186)), (1.5, (137, 140)), (0.25, (23, 23)), (3, (273, 279)), (8, (728, 744))],
)
def test_another_factor_is_a_resize_afterwards(factor: float | None, size: tuple[int, int]) -> None:
    upscaler = Upscaler(runtime_of())
    image = photograph()
    actual = upscaler.upscale(image, factor=factor)
    assert actual.shape == (*size, 3)
    expected = upscaler.upscale(image)
    while factor and len(expected) < size[0]:
        expected = upscaler.upscale(expected)
    if expected.shape[:2] != size:
        expected = imresize(expected, output_size=size)
    np.testing.assert_array_equal(actual, expected)


def test_scale_one_network_is_resized_up() -> None:
    assert Upscaler(runtime_of(1)).upscale(photograph(), factor=2.5).shape == (228, 233, 3)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), 16.5])
def test_impossible_factor(factor: float) -> None:
    with pytest.raises(UsageError, match=r"factor is .*; expected a number above 0, at most 16"):
        Upscaler(runtime_of()).upscale(photograph(), factor=factor)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((4, 4, 3), np.float64),
    ],
)
def test_no_image(image: Any) -> None:
    with pytest.raises(UsageError, match="expected uint8, uint16, float32 of shape"):
        Upscaler(runtime_of()).upscale(image)


def test_nan_in_the_image() -> None:
    image = photograph("float32")
    image[3, 4, 1] = np.nan
    with pytest.raises(UsageError, match="the image holds NaN"):
        Upscaler(runtime_of()).upscale(image)


def test_float_outside_its_range_is_clipped() -> None:
    upscaler = Upscaler(runtime_of())
    image = photograph("float32") * 3 - 1
    np.testing.assert_array_equal(upscaler.upscale(image), upscaler.upscale(image.clip(0, 1)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_not_hidden(value: float) -> None:
    """NaN passes through the model's own clamp in ONNX Runtime; it must not become a black pixel."""
    model = plain_model(spec_of())
    _poke(model, "body.1.weight", value)
    with pytest.raises(ModelFileError, match="gives nan for this image; its weights are broken"):
        Upscaler(open_runtime(model.SerializeToString(), "onnxruntime")).upscale(photograph())


def test_output_that_the_model_does_not_clamp() -> None:
    """A foreign model without a clamp: values outside 0..1 are clipped, infinity is refused."""
    model = plain_model(spec_of())
    node = next(node for node in model.graph.node if node.op_type == "Clip")
    node.op_type = "Identity"
    del node.input[1:]
    clamped = Upscaler(runtime_of()).upscale(photograph())
    np.testing.assert_array_equal(
        Upscaler(open_runtime(model.SerializeToString(), "onnxruntime")).upscale(photograph()), clamped
    )
    _poke(model, "tail.bias", np.inf)
    with pytest.raises(ModelFileError, match="gives inf for this image"):
        Upscaler(open_runtime(model.SerializeToString(), "onnxruntime")).upscale(photograph())


def _poke(model: onnx.ModelProto, name: str, value: float) -> None:
    item = next(item for item in model.graph.initializer if item.name == name)
    array = numpy_helper.to_array(item).copy()
    array.flat[0] = value
    item.CopyFrom(numpy_helper.from_array(array, name))


class _Small(CheckedRuntime):
    """A real runtime that lends memory for a limited number of pixels."""

    def __init__(self, pixels: int) -> None:
        self._runtime = runtime_of()
        self._pixels = pixels
        self.name, self.info, self.precision = self._runtime.name, self._runtime.info, self._runtime.precision

    def _run(self, batch: Any) -> Any:
        if batch.shape[2] * batch.shape[3] > self._pixels:
            raise MemoryError("too large")
        return self._runtime.run(batch)


def test_out_of_memory_means_smaller_tiles(caplog: pytest.LogCaptureFixture) -> None:
    image = photograph()
    with caplog.at_level(logging.WARNING):
        actual = Upscaler(_Small(30 * 30)).upscale(image)
    np.testing.assert_array_equal(actual, Upscaler(runtime_of()).upscale(image))
    assert [record.getMessage() for record in caplog.records] == [
        "not enough memory: trying again with tiles of 45 pixels",
        "not enough memory: trying again with tiles of 22 pixels",
    ]
    with pytest.raises(RepsrError, match="no memory even for tiles of 16 pixels"):
        Upscaler(_Small(100)).upscale(image)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory by what Linux's /proc says is taken")
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_memory_that_really_runs_out(name: str) -> None:
    """The runtime's own allocation fails under a limit of 250 MB more than is taken; the picture is the same."""
    model = plain_model(spec_of(2, 1, 16)).SerializeToString()
    script = """
import resource, sys
import numpy as np
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import open_runtime

model, name = sys.stdin.buffer.read(), sys.argv[1]
image = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), np.uint8)
expected = Upscaler(open_runtime(model, name, threads=1), tile=128).upscale(image)
upscaler = Upscaler(open_runtime(model, name, threads=1), tile=4096)
upscaler.upscale(image[:64, :64])  # what a runtime prepares once is no tile's
with open("/proc/self/statm") as statm:
    taken_bytes = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + 250 * 10**6,) * 2)
print(all(map(np.array_equal, upscaler.upscale(image), expected)))
"""
    done = subprocess.run([sys.executable, "-c", script, name], input=model, capture_output=True, check=True)
    assert done.stdout == b"True\n"
    assert b"not enough memory: trying again with tiles of 800 pixels" in done.stderr


def test_progress_counts_input_pixels() -> None:
    calls: list[tuple[int, int]] = []
    image = photograph()
    Upscaler(runtime_of(), tile=40).upscale(image, factor=4, progress=lambda done, total: calls.append((done, total)))
    once, total = image.shape[0] * image.shape[1], image.shape[0] * image.shape[1] * 5
    assert {b for _, b in calls} == {total}
    assert [a for a, _ in calls] == sorted({a for a, _ in calls})
    assert calls[-1][0] == total
    assert (once, total) in calls


def test_memory_estimate_grows_with_the_model() -> None:
    def estimate(scale: int = 2, width: int = 16) -> int:
        return bytes_per_pixel(ModelInfo(name="m", scale=scale, halo=6, width=width))

    assert estimate() < estimate(scale=4) < estimate(scale=4, width=512)
    assert estimate(width=0) == estimate(width=64)


def test_a_range_that_no_image_has() -> None:
    info = ModelInfo(name="m", scale=2, halo=4, range=(0.0, 255.0))
    runtime = open_runtime(plain_model(spec_of(), info=info).SerializeToString(), "onnxruntime")
    with pytest.raises(ModelFileError, match=r"works on values in \(0.0, 255.0\)"):
        Upscaler(runtime)


def test_impossible_tile_and_budget() -> None:
    with pytest.raises(UsageError, match="tile is 8 pixels"):
        Upscaler(runtime_of(), tile=8)
    with pytest.raises(UsageError, match="memory budget is 0 bytes"):
        Upscaler(runtime_of(), budget_bytes=0)


class _Engine(CheckedRuntime):
    """A real runtime that takes certain shapes only, as an engine does; keeps those that it got."""

    def __init__(self, limits: Limits, runtime: Runtime | None = None) -> None:
        self._runtime = runtime or runtime_of()
        self.name, self.info, self.precision = self._runtime.name, self._runtime.info, self._runtime.precision
        self.limits = limits
        self.shapes: set[tuple[int, ...]] = set()

    def _run(self, batch: Any) -> Any:
        self.shapes.add(batch.shape[2:])
        return self._runtime.run(batch)


@pytest.mark.parametrize("layout", ["gray", "rgb", "rgba"])
@pytest.mark.parametrize(
    ("height", "width"),
    [((1, 91), (1, 93)), ((1, 60), (1, 200)), ((32, 40), (64, 64)), ((91, 91), (40, 40)), ((80, 90), (93, 93))],
)
def test_an_image_outside_the_profile_is_cut_into_tiles_that_fit(
    height: tuple[int, int], width: tuple[int, int], layout: str
) -> None:
    image = layouts("uint8")[layout]  # 91 x 93
    engine = _Engine(Limits(count=(1, 1), height=height, width=width))
    np.testing.assert_array_equal(Upscaler(engine).upscale(image), Upscaler(runtime_of()).upscale(image))
    for rows, columns in engine.shapes:
        assert height[0] <= rows <= height[1]
        assert width[0] <= columns <= width[1]
    if height[1] >= 91 and width[1] >= 93:
        assert engine.shapes == {(91, 93)}  # nothing is cut that fits
    np.testing.assert_array_equal(
        Upscaler(engine, tile=16).upscale(image), Upscaler(runtime_of(), tile=40).upscale(image)
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 3, 64, 64), "images 1 to 1, not 2"), ((1, 3, 63, 64), "height 64 to 80, not 63"), ((1, 3, 64, 101), "width")],
)
def test_a_batch_outside_the_profile_is_refused(shape: tuple[int, ...], words: str) -> None:
    engine = _Engine(Limits(count=(1, 1), height=(64, 80), width=(64, 100)))
    with pytest.raises(UsageError, match=f"Plain-M2C8 was built for {words}"):
        engine.run(np.zeros(shape, np.float32))
    count, channels, height, width = shape
    with pytest.raises(UsageError, match=f"Plain-M2C8 was built for {words}"):
        engine.run_images(np.zeros((count, height, width, channels), np.uint8))


def test_an_image_that_no_profile_helps() -> None:
    engine = _Engine(Limits(count=(1, 1), height=(64, 128), width=(100, 128)))
    with pytest.raises(UsageError, match=r"image is 93 x 91 pixels, .* at least 100 x 64; build it for other shapes"):
        Upscaler(engine).upscale(photograph())
    narrow = _Engine(Limits(count=(1, 1), height=(1, 20), width=(1, 200)))
    with pytest.raises(UsageError, match=r"at most 20 pixels, which leaves a tile 12 beside the 4"):
        Upscaler(narrow).upscale(photograph())


def test_a_network_of_the_whole_image_within_a_profile() -> None:
    info = ModelInfo(name="whole", scale=2, halo=None, width=8)
    runtime = open_runtime(plain_model(spec_of(2, 2, 8), info=info).SerializeToString(), "onnxruntime")
    engine = _Engine(Limits(count=(1, 1), height=(1, 91), width=(1, 93)), runtime)
    np.testing.assert_array_equal(Upscaler(engine).upscale(photograph()), Upscaler(runtime).upscale(photograph()))
    small = _Engine(Limits(count=(1, 1), height=(1, 91), width=(1, 92)), runtime)
    with pytest.raises(
        UsageError, match=r"image is 93 x 91 pixels, and whole was built for at most 92 x 91 and cannot"
    ):
        Upscaler(small).upscale(photograph())


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize("layout", ["gray", "gray alpha", "rgb", "rgba"])
def test_io_image_gives_the_picture_of_io_float(layout: str, name: str) -> None:
    """Within a level: it rounds gray and filled-in colours to 8 bits before the network, and gray once more after."""
    model = plain_model(spec_of(2, 2, 8))
    floats = Upscaler(open_runtime(model.SerializeToString(), name), tile=40)
    images = Upscaler(open_runtime(image_model(model).SerializeToString(), name), tile=40)
    image = layouts("uint8")[layout]
    made, expected = images.upscale(image), floats.upscale(image)
    assert made.dtype == np.uint8
    assert np.abs(made.astype(int) - expected).max() <= (1 if layout == "rgb" else 2)
    assert (made != expected).mean() < (0.001 if layout == "rgb" else 0.2)
    np.testing.assert_array_equal(made, Upscaler(images.runtime, tile=1000).upscale(image))


def test_io_image_takes_8_bits_alone() -> None:
    runtime = open_runtime(image_model(plain_model(spec_of())).SerializeToString(), "onnxruntime")
    for dtype in ("uint16", "float32"):
        with pytest.raises(UsageError, match=rf"image is {dtype}, .* takes and gives 8 bits .* --io float"):
            Upscaler(runtime).upscale(photograph(dtype))


@lru_cache
def _features_and_floats(scale: int, skip: Any, name: str) -> tuple[Runtime, Runtime]:
    model = plain_model(spec_of(scale, 2, 8))
    features = with_info(features_model(model), skip=skip)
    made, floats = (
        open_runtime(each.SerializeToString(), name, threads=1, precision="fp32") for each in (features, model)
    )
    return made, floats


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize("skip", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", ["gray", "gray alpha", "rgb", "rgba"])
def test_io_features_keeps_every_layout_and_tiles_change_no_bit(layout: str, dtype: str, skip: Any, name: str) -> None:
    image = layouts(dtype)[layout]
    for scale in (2, 3):
        runtime, floats = _features_and_floats(scale, skip, name)
        untiled = Upscaler(runtime, tile=1000, threads=1).upscale(image)
        for tile in (16, 33):
            assert Upscaler(runtime, tile=tile, threads=1).upscale(image).tobytes() == untiled.tobytes()
        other = (untiled != Upscaler(floats, threads=1).upscale(image)).mean()
        same = other < 1e-4 if name == "native" and dtype == "uint8" else other == 0
        assert same == (skip == "nearest")  # the skip that the network itself has


@pytest.mark.parametrize("colour", ["rgb", "y"])
def test_broken_features_are_not_hidden(colour: Any) -> None:
    model = features_model(plain_model(spec_of(2, 2, 8, colour)))
    _poke(model, "tail.bias", np.inf)
    with pytest.raises(ModelFileError, match=r"gives NaN or infinity in .* its weights are broken"):
        Upscaler(open_runtime(model.SerializeToString(), "onnxruntime")).upscale(photograph())


class _Whole(_Small):
    """A real runtime that puts the tiles of a picture together by itself, as one on a GPU does."""

    def __init__(self, pixels: int = 10**9) -> None:
        super().__init__(pixels)
        self.pictures = 0

    def enlarge_tiles(self, image_hwc: Any, tiles: Sequence[Tile], out_hwc: Any, report: Callable[[int], None]) -> None:
        self.pictures += 1
        done = 0
        for tile in tiles:
            rows, columns = tile.crop.scaled(2).slices
            made = self.run_images(image_hwc[tile.source.slices][None])[0]
            out_hwc[tile.core.scaled(2).slices] = made[rows, columns]
            done += tile.core.pixels
            report(done)


def test_a_runtime_that_takes_whole_pictures_gets_them() -> None:
    runtime = _Whole()
    calls: list[tuple[int, int]] = []
    made = Upscaler(runtime, tile=40).upscale(photograph(), progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(made, Upscaler(runtime_of()).upscale(photograph()))
    assert runtime.pictures == 1
    assert calls[-1] == (91 * 93, 91 * 93)
    assert len(calls) == 9
    for image in (photograph("uint16"), layouts("uint8")["gray"], layouts("uint8")["rgba"]):
        np.testing.assert_array_equal(Upscaler(runtime).upscale(image), Upscaler(runtime_of()).upscale(image))
    assert runtime.pictures == 1  # others are no pictures of 8-bit colours alone
    Upscaler(runtime).upscale(np.zeros((500, 700, 3), np.uint8))
    assert runtime.pictures == 2


def test_a_whole_picture_without_memory_means_smaller_tiles(caplog: pytest.LogCaptureFixture) -> None:
    runtime = _Whole(50 * 50)
    made = Upscaler(runtime).upscale(photograph())
    np.testing.assert_array_equal(made, Upscaler(runtime_of()).upscale(photograph()))
    assert "not enough memory: trying again with tiles of 45 pixels" in caplog.text
    assert runtime.pictures == 2


class _Sharing(_Engine):
    """A real runtime that wants equal tiles, several at a time; `check` is called for each and may raise."""

    def __init__(
        self, tile_side: int | None, in_flight: int, check: Callable[[_Sharing, Any], Any] | None = None
    ) -> None:
        super().__init__(Limits(count=(1, 1), height=(1, 400), width=(1, 400)))
        self.tile_side, self.in_flight, self._check = tile_side, in_flight, check
        self.expected: list[int] = []
        self.tiles = self.most = self._inside = 0
        self._lock = threading.Lock()

    def expect(self, tiles: int) -> None:
        self.expected.append(tiles)

    def _run(self, batch: Any) -> Any:
        with self._lock:
            self._inside += 1
            self.tiles += 1
            self.most = max(self.most, self._inside)
        try:
            if self._check is not None:
                self._check(self, batch)
            return super()._run(batch)
        finally:
            with self._lock:
                self._inside -= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("layout", ["gray", "rgb", "rgba"])
@pytest.mark.parametrize("side", [36, 50, 91, 92, 93, 200])
def test_tiles_for_batches_are_equal(side: int, layout: str, dtype: str) -> None:
    image = layouts(dtype)[layout]  # 91 x 93
    runtime = _Sharing(side, 3)
    np.testing.assert_array_equal(Upscaler(runtime).upscale(image), Upscaler(runtime_of()).upscale(image))
    assert runtime.shapes == {(min(side, 91), min(side, 93))}
    small = image[:31, :40]
    runtime.shapes.clear()
    np.testing.assert_array_equal(Upscaler(runtime).upscale(small), Upscaler(runtime_of()).upscale(small))
    assert runtime.shapes == {(31, min(side, 40))}


def test_tiles_for_batches_are_not_mostly_halo() -> None:
    """The halo of this network is 4, with transparency 9: a side of 35 leaves less than half of a tile to its core."""
    image = layouts("uint8")["rgba"]
    for side, sides in ((36, {36}), (35, {49}), (16, {34})):
        runtime = _Sharing(side, 1)
        np.testing.assert_array_equal(Upscaler(runtime).upscale(image), Upscaler(runtime_of()).upscale(image))
        assert {size for shape in runtime.shapes for size in shape} <= sides
    runtime = _Sharing(64, 1)
    np.testing.assert_array_equal(Upscaler(runtime, tile=20).upscale(image), Upscaler(runtime_of()).upscale(image))
    assert {size for shape in runtime.shapes for size in shape} <= {36, 37}  # what is asked for is done


@pytest.mark.parametrize("in_flight", [1, 4, 20])
def test_as_many_tiles_at_a_time_as_the_runtime_wants(in_flight: int) -> None:
    together = threading.Barrier(in_flight, timeout=30)
    runtime = _Sharing(24, in_flight, lambda _, batch: together.wait())
    image = photograph()[:64, :80]
    calls: list[tuple[int, int]] = []
    made = Upscaler(runtime).upscale(image, progress=lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(made, Upscaler(runtime_of()).upscale(image))
    assert runtime.most == in_flight
    assert runtime.tiles == 4 * 5
    assert runtime.expected == [*range(20, -1, -1), 0]
    assert calls == [(16 * 16 * tiles, 64 * 80) for tiles in range(1, 21)]


@pytest.mark.parametrize("in_flight", [1, 4])
def test_an_error_stops_the_other_tiles(in_flight: int) -> None:
    def check(runtime: _Sharing, batch: Any) -> None:
        time.sleep(0.01)
        if runtime.tiles > 5:
            raise ModelFileError("the sixth tile")

    threads, runtime = threading.active_count(), _Sharing(24, in_flight, check)
    with pytest.raises(ModelFileError, match="the sixth tile"):
        Upscaler(runtime).upscale(photograph())
    assert runtime.tiles < 20  # of 36
    assert runtime.expected[-1] == 0
    assert threading.active_count() == threads


@pytest.mark.parametrize("pixels", [40 * 40, 30 * 30])
def test_tiles_for_batches_become_smaller_where_memory_is_short(pixels: int) -> None:
    def check(runtime: _Sharing, batch: Any) -> None:
        if batch[0, 0].size > pixels:
            raise MemoryError("too large")

    image = photograph()
    np.testing.assert_array_equal(
        Upscaler(_Sharing(64, 3, check)).upscale(image), Upscaler(runtime_of()).upscale(image)
    )


@pytest.mark.parametrize("factor", [None, 1.5, 3.0, 4.0])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["gray", "rgba"])
def test_the_result_lies_where_it_is_wanted(layout: str, dtype: str, factor: float | None) -> None:
    image = layouts(dtype)[layout][:40, :50]
    given: list[Any] = []

    def allocate(shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
        given.append(np.empty(shape, kind))
        return given[-1]

    made = Upscaler(runtime_of()).upscale(image, factor=factor, allocate=allocate)
    (result,) = given
    assert np.shares_memory(made, result)
    assert result.shape == (made.shape if made.ndim == 3 else (*made.shape, 1))
    np.testing.assert_array_equal(made, Upscaler(runtime_of()).upscale(image, factor=factor))


@pytest.mark.parametrize("factor", [None, 3.0])
def test_no_memory_for_the_result(factor: float | None) -> None:
    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        raise MemoryError

    size = "186 x 182" if factor is None else "279 x 273"
    with pytest.raises(RepsrError, match=f"no memory for an image of {size} pixels"):
        Upscaler(runtime_of()).upscale(photograph(), factor=factor, allocate=allocate)


def test_auto_and_its_options_reach_the_runtime(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(plain_model(spec_of(2, 1, 4)).SerializeToString())
    named = Upscaler(path, runtime="onnxruntime", precision="fp32").runtime
    assert (named.name, named.precision) == ("onnxruntime", "fp32")
    assert Upscaler(path, precision="fp32").runtime.precision == "fp32"
    with pytest.raises(RuntimeUnavailableError, match="not in int8"):
        Upscaler(path, runtime="onnxruntime", precision="int8")
