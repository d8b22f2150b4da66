"""The kernel's text, run by emulation, against the reference; the reference against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skimage.data
from numpy.typing import NDArray

import repsr_deploy.weights
from repsr_kernels.fused_network import reference
from repsr_kernels.fused_network.model import weights_from
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights
from repsr_kernels.fused_network.plan import Tile
from repsr_kernels.fused_network.weights import NetworkWeights
from repsr_kernels.tensors import on_host
from tests.kernels.fused_network.emulated import (
    EmulationError,
    changed,
    emulate,
    emulated,
    random_image,
    random_weights,
)

BUNDLED = Path(repsr_deploy.weights.__file__).parent
NETWORKS = [(2, 4, Tile(3, 9)), (4, 4, Tile(2, 5)), (2, 3, Tile(4, 12))]
"""Scale, M and tiles; with an odd M the last layer reads the other buffer."""


def _expected(weights: NetworkWeights, image_nhwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return reference.upscaled(weights, image_nhwc.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


@pytest.mark.parametrize(("scale", "body", "tile"), NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (1, 45), (19, 1), (2, 3), (9, 38), (10, 39), (25, 67)])
def test_equals_the_reference(scale: int, body: int, tile: Tile, size: tuple[int, int]) -> None:
    weights = random_weights(scale + body, scale=scale, body=body)
    image = random_image(7, 2, *size)
    found, expected = emulated(weights, image, tile), _expected(weights, image)
    np.testing.assert_array_equal(found, expected)
    assert size == (1, 1) or expected.std() > 30  # a picture, not white or black


@pytest.mark.parametrize("order", ["reverse", "shuffle"])
def test_threads_may_run_in_any_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSR_EMULATE_ORDER", order)
    for scale, body, tile in NETWORKS:
        weights, image = random_weights(3, scale=scale, body=body), random_image(8, 1, 17, 50)
        np.testing.assert_array_equal(emulated(weights, image, tile, blocks=1), _expected(weights, image))


def test_any_layout_and_nothing_around_it() -> None:
    weights, tile = random_weights(4, scale=2, body=4), Tile(3, 9)
    image = random_image(9, 2, 13, 21)
    expected = _expected(weights, image)
    planar = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    wide = np.full((2, 40, 60, 3), 55, np.uint8)
    part = wide[:, 7 : 7 + 26, 5 : 5 + 42]
    operation = FusedNetwork(
        network=PlacedWeights.on_host(weights),
        image=on_host(planar, "nchw"),
        out=on_host(part, "nhwc", order="bgr"),
    )
    emulate(operation, tile, blocks=5)
    np.testing.assert_array_equal(part[..., ::-1], expected)
    part[...] = 55
    assert (wide == 55).all()


@pytest.mark.parametrize(("name", "tile"), [("photo-x2", Tile(3, 9)), ("photo-x4", Tile(2, 5))])
def test_bundled_networks_stay_within_half_precision(name: str, tile: Tile) -> None:
    """Against float32 of ONNX Runtime: almost everywhere the same level, nowhere more than one apart."""
    path = BUNDLED / f"{name}.onnx"
    image = np.ascontiguousarray(skimage.data.astronaut()[None, 60:127, 170:251])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batch = image.transpose(0, 3, 1, 2).astype(np.float32) / 255
    exact = np.asarray(session.run(None, {"input": batch})[0], np.float64).transpose(0, 2, 3, 1) * 255
    weights = weights_from(path)
    found = emulated(weights, image, tile)
    np.testing.assert_array_equal(found, _expected(weights, image))
    border = np.ones(found.shape, bool)
    ring = 6 * weights.scale
    border[:, ring:-ring, ring:-ring] = False
    for where in (border, ~border):
        distance = np.abs(found[where] - exact[where])
        assert distance.max() < 0.75  # rounding alone is 0.5
        assert (found[where] != np.rint(exact[where])).mean() < 0.02


PLANTED = {
    "fragments": ("taps.words[tap][f][h]);", "taps.words[tap][f][1 - h]);"),
    "operands": ("lane() / 16));", "1 - lane() / 16));"),
    "halo": ("if (has_row(row) && has_column(column)) {", "if (row >= 0 && has_row(row) && has_column(column)) {"),
    "mask": ("{{pair & kept}}", "{{pair}}"),
    "place": ("params.tile_rows + 2 * Plan::MARGIN", "rows"),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_planted_mistakes_are_found(mistake: str, tmp_path: Path) -> None:
    weights, image = random_weights(5, scale=2, body=4), random_image(6, 1, 20, 45)
    found = emulated(weights, image, Tile(3, 9), csrc=changed(tmp_path, *PLANTED[mistake]))
    wrong = (found != _expected(weights, image)).any(axis=-1)[0]
    assert wrong.sum() > 0
    if mistake == "mask":  # right where no border is near
        assert not wrong[12:-12, 12:-12].any()
    if mistake == "halo":  # right but around the seam of two tiles
        assert not wrong[: 2 * 3].any()
        assert wrong[2 * 9].any()


def test_missing_barrier_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csrc = changed(tmp_path, "__syncthreads();  // behind", "// behind")
    weights, image = random_weights(5, scale=2, body=4), random_image(6, 1, 20, 45)
    results: list[NDArray[np.uint8]] = []
    for order in ("forward", "reverse"):
        monkeypatch.setenv("REPSR_EMULATE_ORDER", order)
        results.append(emulated(weights, image, Tile(3, 9), csrc=csrc))
    assert any((result != _expected(weights, image)).any() for result in results)


def test_too_little_shared_memory_is_found(tmp_path: Path) -> None:
    csrc = changed(tmp_path, "rows = least(params.tile_rows, ", "rows = least(params.tile_rows + 1, ")
    with pytest.raises(EmulationError, match="behind its"):
        emulated(random_weights(5, scale=2, body=4), random_image(6, 1, 20, 45), Tile(3, 9), csrc=csrc)
