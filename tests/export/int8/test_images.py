"""Pictures at sizes and in colours that networks take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.export.form import with_shape
from repsr_deploy.export.int8 import images
from repsr_deploy.metrics.colour import luma
from tests.export.int8.graphs import Graph, chain, info_of

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (300, 45, 3), np.uint8)


def test_a_network_gets_the_middle_in_its_own_colours() -> None:
    (rgb,), (y,) = (images.as_inputs({"a": PICTURE}, info_of(colour=colour), 4) for colour in ("rgb", "y"))
    middle = PICTURE[22:278]
    assert rgb.shape == (1, 3, 256, 48)
    assert y.shape == (1, 1, 256, 48)
    np.testing.assert_allclose(rgb[0, :, :, :45].numpy(), middle.transpose(2, 0, 1) / 255, atol=1e-7)
    np.testing.assert_allclose(y[0, 0, :, :45].numpy() * 255, luma(middle), atol=1e-4)
    np.testing.assert_array_equal(rgb[..., 45:].numpy(), rgb[..., 42:45].flip(-1).numpy())


def test_photographs_are_cropped_to_what_fits() -> None:
    assert images.cropped({"a": PICTURE}, 8)["a"].shape == (296, 40, 3)
    assert np.array_equal(images.cropped({"a": PICTURE}, 8, 32)["a"], PICTURE[134:166, 6:38])
    with pytest.raises(UsageError, match="photograph a has 45x300 pixels; expected at least 64"):
        images.cropped({"a": PICTURE}, 64)


def test_sides_that_a_network_needs_are_found(tmp_path: Path) -> None:
    graph = Graph()
    folded = graph.node("SpaceToDepth", ["input"], "folded", blocksize=4)
    wide = graph.conv(graph.conv(folded, "head", 48, 8), "tail", 8, 48)
    model = graph.model(graph.node("DepthToSpace", [wide], "shuffle", blocksize=4, mode="CRD"), 1, tmp_path)
    assert images.multiple_of(model) == 4
    assert images.multiple_of(chain(tmp_path)) == 1


def test_a_network_for_one_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes images of 32x24 only"):
        images.multiple_of(with_shape(chain(tmp_path), (None, 24, 32)))


def test_edges_have_all_colours_and_steps_of_full_height() -> None:
    edges = images.edges()
    assert {tuple(picture[0, 0]) for name, picture in edges.items() if name in images.COLOURS} == set(
        images.COLOURS.values()
    )
    blocks = edges["colour blocks"].astype(int)
    assert {0, 255} == set(np.unique(blocks))
    assert len(np.unique(blocks.reshape(-1, 3), axis=0)) == 8
    across = np.abs(np.diff(blocks, axis=1)).max(axis=(0, 2))
    assert set(np.flatnonzero(across) % 8) == {7}
    black, white = images.lines()["white lines"], images.lines()["black lines"]
    assert np.array_equal(black, 255 - white)
    assert 0.15 < black.mean() / 255 < 0.25
