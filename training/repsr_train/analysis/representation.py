"""Deep degradation representations (Liu et al., arXiv 2108.00406) as Reflash Dropout uses them (fact sheet 4.4).

Features of the same photographs under several degradations, reduced to a plane: where degradations form clusters, the
network tells them apart and has adapted itself to each; the less they do, the better it generalises. The papers do not
say which layer, how many photographs and what size Reflash Dropout took; here they are options, and recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.errors import RepsrError, UsageError
from repsr_deploy.nets.base import Network
from repsr_train.analysis.features import check_layers, layers_of, run_with_features
from repsr_train.analysis.inputs import degraded_lr, read_middle, to_batch
from repsr_train.degradations.eight import KINDS, Kind

PROTOCOL = (
    "features of the middle of every photograph under every degradation, flattened; PCA to `components`, t-SNE of "
    "those to 2 dimensions, both by scikit-learn with random_state=1, t-SNE started from PCA; Calinski-Harabasz index "
    "[B / (k - 1)] / [W / (n - k)], clusters are degradations, higher: further apart; the papers' is that of t-SNE, "
    "which depends on its random state; that of the principal components hardly does"
)
MAX_COMPONENTS = 50
PERPLEXITY = 30.0
"""scikit-learn's default; fewer than three times as many neighbours cannot give it."""
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Features in few dimensions, and how far their clusters are apart."""

    principal: NDArray[np.float64]
    """n x components."""
    explained: NDArray[np.float64]
    """Each component's part of the variance of the features."""
    tsne: NDArray[np.float64]
    """n x 2."""
    perplexity: float
    chi_principal: float
    """Calinski-Harabasz index of all principal components."""
    chi_tsne: float
    """The same of the t-SNE: the papers' number."""


@dataclass(frozen=True, kw_only=True)
class Representation:
    """Features of photographs under degradations; points are in the order (photograph, degradation)."""

    layer: str
    kinds: tuple[Kind, ...]
    images: tuple[str, ...]
    crop: int
    """Side of the LR crops, pixels."""
    embedding: Embedding

    def rows(self, kind: Kind) -> slice:
        """Where the points of a degradation are."""
        return slice(self.kinds.index(kind), None, len(self.kinds))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; points are rows of [x, y] by degradation, in the order of the images."""
        found = self.embedding
        return {
            "chi_tsne": found.chi_tsne,
            "chi_principal_components": found.chi_principal,
            "layer": self.layer,
            "crop_lr_pixels": self.crop,
            "kinds": list(self.kinds),
            "images": list(self.images),
            "components": found.principal.shape[1],
            "explained_variance": found.explained.tolist(),
            "perplexity": found.perplexity,
            "random_state": SEED,
            "tsne": {kind: found.tsne[self.rows(kind)].tolist() for kind in self.kinds},
            "first_two_components": {kind: found.principal[self.rows(kind), :2].tolist() for kind in self.kinds},
        }


def represent(
    net: Network,
    hr_paths: Sequence[Path],
    *,
    layer: str | None = None,
    kinds: Sequence[Kind] = KINDS,
    crop: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Representation:
    """How `net` sees the degraded versions of photographs.

    Args:
        net: in evaluation mode; it is not modified.
        hr_paths: photographs, two or more.
        layer: which features; by default those of the last block.
        kinds: degradations, two or more.
        crop: side in LR pixels of the middle of each photograph that is degraded and looked at.
        progress: called with the photographs done and their number.

    Raises:
        UsageError: no such layer, too few photographs or degradations, a photograph smaller than the crop, or a network
            in training mode.
        ImageFileError: a photograph cannot be read.
        RepsrError: the features do not differ, are not finite, or take too much memory.
    """
    layer = layer or layers_of(net).deepest_at_lr
    check_layers(net, (layer,))
    if len(hr_paths) < 2 or len(kinds) < 2:
        raise UsageError(
            f"photographs: {len(hr_paths)}, degradations: {len(kinds)}; expected two or more of each to make clusters"
        )
    labels = np.tile(np.arange(len(kinds)), len(hr_paths))
    try:
        embedding = embed(np.stack(list(_features(net, hr_paths, layer, kinds, crop, progress))), labels)
    except MemoryError as error:
        raise RepsrError(
            f"no memory for the features of {len(hr_paths)} photographs at {layer}; choose a smaller --count or "
            f"--crop, or a layer at LR resolution such as {layers_of(net).deepest_at_lr}"
        ) from error
    names = tuple(path.name for path in hr_paths)
    return Representation(layer=layer, kinds=tuple(kinds), images=names, crop=crop, embedding=embedding)


def embed(features_nd: NDArray[np.floating[Any]], labels_n: NDArray[np.integer[Any]]) -> Embedding:
    """PCA, t-SNE and the Calinski-Harabasz index of n points with D features in clusters 0 to k - 1.

    Deterministic on one machine. Needs n > k > 1 and D > 1.

    Raises:
        RepsrError: the features are all the same, or not finite.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import calinski_harabasz_score

    if not np.isfinite(features_nd).all():
        raise RepsrError("the features hold NaN or infinity; the network's weights are broken")
    if not np.ptp(features_nd, axis=0).any():
        raise RepsrError(
            "the features are the same for every picture, so nothing can be told apart; take another layer"
        )
    num_points = len(features_nd)
    pca = PCA(n_components=min(MAX_COMPONENTS, *features_nd.shape), random_state=SEED)
    principal = pca.fit_transform(features_nd)
    perplexity = min(PERPLEXITY, (num_points - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, random_state=SEED).fit_transform(principal)
    return Embedding(
        principal=principal.astype(np.float64),
        explained=pca.explained_variance_ratio_.astype(np.float64),
        tsne=tsne.astype(np.float64),
        perplexity=perplexity,
        chi_principal=float(calinski_harabasz_score(principal, labels_n)),
        chi_tsne=float(calinski_harabasz_score(tsne, labels_n)),
    )


def _features(
    net: Network,
    hr_paths: Sequence[Path],
    layer: str,
    kinds: Sequence[Kind],
    crop: int,
    progress: Callable[[int, int], None] | None,
) -> Generator[NDArray[np.float32]]:
    """Flattened features of every photograph under every degradation."""
    for done, path in enumerate(hr_paths, start=1):
        hr_hwc = read_middle(path, crop, net.spec.scale)
        for kind in kinds:
            lr_nchw = to_batch(degraded_lr(hr_hwc, net.spec.scale, kind, path.name), net)
            with torch.no_grad():
                features = run_with_features(net, lr_nchw)[1]
            yield features[layer].flatten().float().cpu().numpy()
        if progress:
            progress(done, len(hr_paths))
