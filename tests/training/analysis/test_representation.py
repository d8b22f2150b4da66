"""Deep degradation representations: clusters that are known, and features that are computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.imaging.image_file import write_image
from repsr_train.analysis.features import run_with_features
from repsr_train.analysis.inputs import to_batch
from repsr_train.analysis.representation import embed, represent
from repsr_train.degradations.eight import KINDS, Kind, degraded, noise_seed
from tests.nets.networks import randomized, spec_of


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three small photographs of different sizes."""
    folder = tmp_path_factory.mktemp("hr")
    write_image(folder / "cat.png", skimage.data.chelsea()[60:123, 120:197])
    write_image(folder / "coffee.png", skimage.data.coffee()[100:148, 200:290])
    write_image(folder / "man.png", skimage.data.camera()[100:171, 200:265])
    return sorted(folder.iterdir())


def clusters(distance: float, k: int = 3, each: int = 8) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """k groups of points in 40 dimensions around centres at that distance from the origin."""
    random = np.random.default_rng(3)
    labels = np.tile(np.arange(k), each)
    return random.normal(size=(k * each, 40)) + distance * np.eye(40)[labels], labels


def index_by_hand(points: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
    """[B / (k - 1)] / [W / (n - k)] of the fact sheet."""
    groups = [points[labels == label] for label in np.unique(labels)]
    between = sum(len(group) * ((group.mean(0) - points.mean(0)) ** 2).sum() for group in groups)
    within = sum(((group - group.mean(0)) ** 2).sum() for group in groups)
    return float(between / (len(groups) - 1) / (within / (len(points) - len(groups))))


def test_indices_against_the_formula() -> None:
    features, labels = clusters(6.0)
    found = embed(features, labels)
    assert found.principal.shape == (24, 24)
    assert found.tsne.shape == (24, 2)
    assert found.chi_principal == pytest.approx(index_by_hand(found.principal, labels), rel=1e-6)
    assert found.chi_tsne == pytest.approx(index_by_hand(found.tsne, labels), rel=1e-6)
    # all components together keep every distance, so the index is that of the features themselves
    assert found.chi_principal == pytest.approx(index_by_hand(features, labels), rel=1e-6)
    assert found.explained.sum() == pytest.approx(1)


def test_clusters_further_apart_have_higher_indices() -> None:
    mixed, near, far = (embed(*clusters(distance)) for distance in (0.0, 4.0, 40.0))
    assert mixed.chi_principal < near.chi_principal < far.chi_principal
    assert mixed.chi_tsne < near.chi_tsne < far.chi_tsne
    assert mixed.chi_tsne < 3
    assert far.chi_tsne > 100


def test_at_most_fifty_components_and_a_perplexity_that_fits() -> None:
    features, labels = clusters(4.0, k=2, each=30)
    found = embed(np.hstack([features, features**2]), labels)
    assert found.principal.shape == (60, 50)
    assert found.perplexity == pytest.approx(59 / 3)
    assert embed(*clusters(4.0, k=2, each=2)).perplexity == 1
    assert embed(*clusters(4.0, k=4, each=30)).perplexity == 30


def test_the_embedding_repeats() -> None:
    first, second = embed(*clusters(4.0)), embed(*clusters(4.0))
    assert np.array_equal(first.tsne, second.tsne)
    assert first.chi_tsne == second.chi_tsne


def test_features_without_differences_or_not_finite_are_errors() -> None:
    labels = np.tile(np.arange(2), 3)
    with pytest.raises(RepsrError, match="same for every picture"):
        embed(np.ones((6, 5)), labels)
    with pytest.raises(RepsrError, match="NaN or infinity"):
        embed(np.full((6, 5), np.nan), labels)


@torch.no_grad()
def test_points_belong_to_their_photographs_and_degradations(paths: list[Path]) -> None:
    net = randomized(spec_of("srresnet")).eval()
    kinds: tuple[Kind, ...] = ("noise", "clean", "blur+jpeg", "jpeg")
    found = represent(net, paths, kinds=kinds, crop=20, layer="b1")
    cat_hwc = skimage.data.chelsea()[60:122, 120:196]  # its sides are cut to multiples of the scale first
    crop_hwc = np.ascontiguousarray(cat_hwc[11:51, 18:58])
    for kind in kinds:
        lr_hwc = degraded(crop_hwc, 2, kind, noise_seed("cat.png", kind))
        features = run_with_features(net, to_batch(lr_hwc, net))[1]["b1"].flatten().double().numpy()
        # principal components keep distances, so the cat's points are found by theirs to the features of another
        other_hwc = degraded(crop_hwc, 2, "clean", 0)
        other = run_with_features(net, to_batch(other_hwc, net))[1]["b1"].flatten().double().numpy()
        points = [found.embedding.principal[found.rows(each)][0] for each in (kind, "clean")]
        distance = np.linalg.norm(features - other)
        assert pdist(np.stack(points))[0] == pytest.approx(distance, rel=1e-3, abs=1e-6)
    report = found.to_dict()
    assert report["images"] == ["cat.png", "coffee.png", "man.png"]
    assert report["tsne"]["clean"] == found.embedding.tsne[[1, 5, 9]].tolist()
    assert list(report["tsne"]) == list(kinds)
    principal = found.embedding.principal
    labels = np.concatenate([np.full(len(principal[found.rows(kind)]), number) for number, kind in enumerate(kinds)])
    points = np.concatenate([principal[found.rows(kind)] for kind in kinds])
    assert report["chi_principal_components"] == pytest.approx(index_by_hand(points, labels), rel=1e-6)


def test_the_whole_protocol_on_a_luma_network(paths: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    net = randomized(spec_of("repsr", colour="y")).eval()
    found = represent(net, paths, crop=16, progress=lambda done, total: seen.append((done, total)))
    assert (found.layer, found.kinds, found.crop) == ("body.1", KINDS, 16)
    assert found.embedding.principal.shape == (24, 24)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_impossible_requests_are_refused(paths: list[Path]) -> None:
    net = randomized(spec_of("srresnet")).eval()
    with pytest.raises(UsageError, match="no layer 'b9'; did you mean"):
        represent(net, paths, layer="b9")
    with pytest.raises(UsageError, match="photographs: 1, degradations: 8; expected two or more"):
        represent(net, paths[:1])
    with pytest.raises(UsageError, match="photographs: 3, degradations: 1"):
        represent(net, paths, kinds=["clean"])
    with pytest.raises(UsageError, match=r"cat.png has 76x62 pixels; expected 128"):
        represent(net, paths, crop=64)
    with pytest.raises(UsageError, match="training mode"):
        represent(net.train(), paths)
