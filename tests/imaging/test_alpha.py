"""Transparency through an upscaler: no fringes whatever lies under it, and no work where it is constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.runtimes import Runtime, open_runtime
from tests.imaging.simple_models import Watched, blurring
from tests.runtimes.models import plain_model, spec_of

SIDE = 48
RED = np.array([1.0, 0.0, 0.0])


def disc(edge: str) -> Any:
    """A red disc over invisible black: uint8 H x W x 4."""
    rows, columns = np.indices((SIDE, SIDE + 1))
    inside = 15.5 - np.hypot(rows - 23.3, columns - 24.1)
    width = {"hard": 1e-9, "soft": 1.0, "glow": 12.0, "faint black": 1e-9}[edge]
    alpha = np.rint(np.clip(inside / width, 0, 1) * 255).astype(np.uint8)
    image = np.zeros((*alpha.shape, 4), np.uint8)
    image[..., 0] = np.where(alpha > 0, 255, 0)
    image[..., 3] = alpha
    if edge == "faint black":  # what is left by programs that blend colours without looking at alpha
        ring = (inside > -0.7) & (inside <= 0)
        image[ring] = (0, 0, 0, 4)
    return image


def over(image: Any, background: Any) -> Any:
    share = image[..., 3:] / 255
    return image[..., :3] / 255 * share + np.asarray(background) * (1 - share)


@pytest.fixture(scope="module")
def photo() -> Upscaler:
    return Upscaler("photo-x2", runtime="onnxruntime", threads=1)


@pytest.mark.parametrize("edge", ["hard", "soft", "glow", "faint black"])
def test_no_visible_pixel_is_darker_than_the_colour_of_its_shape(photo: Upscaler, edge: str) -> None:
    image = disc(edge)
    made = photo.upscale(image)
    visible = made[..., 3] > 0
    assert 1000 < visible.sum() < visible.size
    assert made[visible][:, 0].min() >= 254
    assert made[visible][:, 1:3].max() <= 1
    naive = photo.upscale(np.ascontiguousarray(image[..., :3]))
    if edge != "glow":
        assert naive[visible][:, 0].min() < 100  # what black under transparency does without care


@pytest.mark.parametrize("background", [(0, 0, 0), (1, 1, 1), (0, 0, 1), (0.2, 0.7, 0.4)])
@pytest.mark.parametrize("edge", ["hard", "soft", "glow"])
def test_an_enlarged_shape_on_any_background_is_the_shape_on_it_enlarged(edge: str, background: Any) -> None:
    """Exact for a linear network and a shape of one colour, but for the two roundings to 8 bits."""
    runtime = blurring()
    image = disc(edge)
    expected = Upscaler(runtime).upscale(over(image, background).astype(np.float32))
    inner = np.s_[2:-2, 2:-2]  # at the border a network pads with black, in colours and in alpha
    made = over(Upscaler(runtime).upscale(image), background)
    assert np.abs(made - expected)[inner].max() <= 1.01 / 255


def test_a_faint_pixel_among_faint_ones_keeps_its_colour() -> None:
    """A watermark of 1 % of alpha is no dirt."""
    image = np.zeros((20, 20, 4), np.uint8)
    image[..., 3] = 3
    image[5:15, 5:15] = (0, 200, 0, 2)
    made = Upscaler(blurring()).upscale(image)
    assert (made[14:26, 14:26, :3] == (0, 200, 0)).all()


def test_dirt_is_cleaned_alike_in_every_tile() -> None:
    random = np.random.default_rng(5)
    image = random.integers(0, 256, (90, 70, 4), np.uint8)
    image[..., 3] = random.choice([0, 1, 5, 7, 8, 60, 255], (90, 70), p=[0.4, 0.3, 0.1, 0.05, 0.05, 0.05, 0.05])
    runtime = _random()
    whole = Upscaler(runtime, tile=1000).upscale(image)
    np.testing.assert_array_equal(Upscaler(runtime, tile=16).upscale(image), whole)


@pytest.mark.parametrize("alpha", [0, 1, 128, 255])
def test_constant_alpha_runs_no_network(alpha: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)
    image[..., 3] = alpha
    runtime = Watched(_random())
    made = Upscaler(runtime, tile=1000).upscale(image)
    assert len(runtime.shapes) == 1
    np.testing.assert_array_equal(made[..., :3], Upscaler(_random()).upscale(np.ascontiguousarray(image[..., :3])))
    assert (made[..., 3] == alpha).all()
    image[7, 7, 3] = 77
    Upscaler(runtime, tile=1000).upscale(image)
    assert len(runtime.shapes) == 3


def _random() -> Runtime:
    return open_runtime(plain_model(spec_of(2, 2, 8)).SerializeToString(), "onnxruntime", threads=1)
