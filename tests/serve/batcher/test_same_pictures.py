"""What many requests get at the same time is what `Upscaler` gives each of them alone: byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import skimage.data

from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes import Candidate, Limits, Runtime, open_runtime
from repsr_deploy.runtimes.base import CheckedRuntime
from repsr_deploy.weights import find_model
from repsr_serve.batcher import Batcher, Ticket
from tests.runtimes.here import candidates_for, every_runtime
from tests.runtimes.models import features_model, image_model, plain_model, spec_of
from tests.serve.batcher.slowed import PATIENCE_S, small_runtime

SIDE = 80

Kind = Literal["rgb", "gray", "gray alpha", "rgba", "16-bit rgb", "16-bit rgba", "float"]


@dataclass(frozen=True)
class Request:
    image_hwc: Any
    factor: float | None = None


def picture(height: int, width: int, kind: Kind, random: np.random.Generator) -> Any:
    """A part of a photograph, in which no two parts are equal."""
    source = skimage.data.coffee()
    top, left = (int(random.integers(0, room)) for room in (400 - height, 600 - width))
    rgb = source[top : top + height, left : left + width]
    alpha = random.integers(0, 256, (height, width, 1), np.uint8) if height % 2 else rgb[..., :1]
    colours = rgb[..., 1:2] if kind.startswith("gray") else rgb
    if kind.endswith(("alpha", "rgba")):
        colours = np.concatenate([colours, alpha], axis=-1)
    if kind.startswith("16-bit"):
        return colours.astype(np.uint16) * 256 + random.integers(0, 2, colours.shape, np.uint16)
    if kind == "float":
        return colours.astype(np.float32) / 255
    return colours[..., 0] if kind == "gray" else colours


EIGHT_BITS: tuple[Kind, ...] = ("rgb", "rgb", "gray", "gray alpha", "rgba")
ALL_KINDS: tuple[Kind, ...] = (*EIGHT_BITS, "16-bit rgb", "16-bit rgba", "float")


def requests(kinds: tuple[Kind, ...], seed: int) -> list[Request]:
    """One picture of each kind, of random sizes, and those that are as large as a tile, or nearly."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 200, (len(kinds), 2)).tolist()
    made = [Request(picture(height, width, kind, random)) for (height, width), kind in zip(sizes, kinds, strict=True)]
    for height, width in ((SIDE, SIDE), (SIDE - 1, SIDE + 1), (1, SIDE + 1), (SIDE, 11)):
        made.append(Request(picture(height, width, "rgb", random)))
    return [*made, Request(picture(67, 91, "rgba", random), 3.0), Request(picture(91, 33, "rgb", random), 0.7)]


def check_same_pictures(alone: Runtime, batcher: Batcher, asked: list[Request]) -> None:
    """All at once through the batcher."""
    plain = Upscaler(alone)
    expected = [plain.upscale(request.image_hwc, factor=request.factor) for request in asked]

    def serve(request: Request) -> Any:
        return Upscaler(batcher.share(Ticket())).upscale(request.image_hwc, factor=request.factor)

    with ThreadPoolExecutor(len(asked)) as pool:
        for future, right in zip([pool.submit(serve, request) for request in asked], expected, strict=True):
            made = future.result(PATIENCE_S)
            assert made.dtype == right.dtype
            np.testing.assert_array_equal(made, right)


BUNDLED = [
    pytest.param(model, candidate, id=f"{model}-{candidate}")
    for model in ("photo-x2", "photo-x4")
    for candidate in candidates_for("fp32")
    if candidate in (Candidate("onnxruntime", "fp32"), Candidate("openvino", "bf16"), Candidate("native", "bf16"))
]


@pytest.mark.parametrize(("model", "candidate"), BUNDLED)
def test_bundled_models(model: str, candidate: Candidate) -> None:
    runtime = open_runtime(find_model(model), candidate.runtime, threads=1, precision=candidate.precision)
    sizes = Sizes()
    with Batcher(runtime) as by_default, Batcher(runtime, tile=SIDE, batch=3, observer=sizes) as in_batches:
        check_same_pictures(runtime, in_batches, requests(ALL_KINDS, 0))
        assert {1, 2, 3} >= set(sizes.tiles) > {1}
        check_same_pictures(runtime, by_default, requests(("rgb", "rgba", "16-bit rgb"), 1))


class Sizes:
    """How many tiles batches have."""

    def __init__(self) -> None:
        self.tiles: list[int] = []

    def batch_done(self, model: str, tiles: int, capacity: int, pixels: int, seconds: float) -> None:
        """See `BatchObserver`."""
        self.tiles.append(tiles)


CHANGED: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "float": lambda model: model,
    "image": image_model,
    "features": features_model,
}


@pytest.mark.parametrize("name", every_runtime())
@pytest.mark.parametrize("colour", ["rgb", "y"])
@pytest.mark.parametrize("io", CHANGED)
def test_every_io_and_colour(io: str, colour: Colour, name: str) -> None:
    model = CHANGED[io](plain_model(spec_of(2, 2, 8, colour)))
    runtime = open_runtime(model.SerializeToString(), name, threads=1, precision="fp32")
    with Batcher(runtime, tile=SIDE, batch=4, threads=1) as batcher:
        check_same_pictures(runtime, batcher, requests(EIGHT_BITS if io == "image" else ALL_KINDS, 2))


def test_pictures_that_cannot_be_cut() -> None:
    info = ModelInfo(name="whole", scale=2, halo=None, width=8)
    model = plain_model(spec_of(2, 2, 8), info=info).SerializeToString()
    runtime = open_runtime(model, "onnxruntime", threads=1)
    with Batcher(runtime, batch=4) as batcher:
        asked = requests(ALL_KINDS, 3)
        check_same_pictures(runtime, batcher, [*asked, *asked])


class Engine(CheckedRuntime):
    """A real runtime that takes batches of certain sizes only, as an engine does."""

    def __init__(self, limits: Limits) -> None:
        self._runtime = small_runtime()
        self.name, self.precision, self.info = self._runtime.name, self._runtime.precision, self._runtime.info
        self.limits = limits
        self.counts: set[int] = set()

    def _run(self, batch: Any) -> Any:
        self.counts.add(len(batch))
        return self._runtime.run(batch)


@pytest.mark.parametrize("count", [(1, 1), (2, 3), (4, 4), (1, 8)])
def test_what_an_engine_takes(count: tuple[int, int]) -> None:
    engine = Engine(Limits(count=count, height=(1, 150), width=(1, 200)))
    asked = requests(ALL_KINDS, 4)
    with Batcher(engine, tile=SIDE, batch=count[1], delay_s=0.001) as batcher:
        check_same_pictures(small_runtime(), batcher, asked)
        assert min(engine.counts) >= count[0]
        assert max(engine.counts) <= count[1]


def test_a_batch_of_many_images_goes_in_piece_by_piece() -> None:
    """As raw tensors come."""
    runtime = small_runtime()
    random = np.random.default_rng(5)
    with Batcher(runtime, batch=3) as batcher:
        share = batcher.share(Ticket())
        for count in (1, 2, 5, 6, 7, 20):
            images_nhwc = random.integers(0, 256, (count, 9, 11, 3), np.uint8)
            np.testing.assert_array_equal(share.run_images(images_nhwc), runtime.run_images(images_nhwc))
            batch_nchw = random.random((count, 3, 11, 9), np.float32)
            np.testing.assert_array_equal(share.run(batch_nchw), runtime.run(batch_nchw))


class ByPlace(Engine):
    """The planted fault: what a tile becomes depends on its place in the batch."""

    def _run(self, batch: Any) -> Any:
        made = self._runtime.run(batch)
        made[1:, :, -1, -1] += 0.01
        return made


class Mixed(Engine):
    """The planted fault: tiles of a batch change places."""

    def _run(self, batch: Any) -> Any:
        return self._runtime.run(batch)[::-1]


@pytest.mark.parametrize("faulty", [ByPlace, Mixed])
def test_a_mistake_in_a_batch_is_seen(faulty: type[Engine]) -> None:
    with Batcher(faulty(Limits(count=(1, 4), height=(1, 400), width=(1, 400))), tile=SIDE, batch=4) as batcher:
        asked = [Request(picture(SIDE, SIDE, "rgb", np.random.default_rng(seed))) for seed in range(8)]
        with pytest.raises(AssertionError, match="Arrays are not equal"):
            check_same_pictures(small_runtime(), batcher, asked * 8)
