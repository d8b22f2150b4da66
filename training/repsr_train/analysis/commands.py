"""What the analysis commands do, from checkpoints and photographs to pictures and numbers in a folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy import __version__
from repsr_deploy.errors import RepsrError
from repsr_deploy.files import atomic_path, write_text
from repsr_deploy.imaging.folders import find_images
from repsr_deploy.metrics.evaluate import read_reference
from repsr_deploy.nets.spec import Colour
from repsr_train.analysis import ablation, representation, saliency
from repsr_train.analysis.ablation_plot import draw_ablation
from repsr_train.analysis.features import layers_of
from repsr_train.analysis.inputs import Uint8, degraded_lr, middle, parse_kinds, read_middle, to_batch
from repsr_train.analysis.representation_plot import draw_representation
from repsr_train.analysis.saliency_plot import draw_concentration, draw_maps, draw_shares
from repsr_train.analysis.subjects import load_subjects
from repsr_train.degradations.eight import KINDS

Progress = Callable[[int, int], None]


def analyse_saliency(
    checkpoints: Sequence[Path], image: Path, out: Path, *, layers: Sequence[str], kind: str | None, crop: int
) -> list[str]:
    """Channel saliency of one or two networks on an image; lines for the user.

    Args:
        checkpoints: one, or two of the same scale and layers.
        image: the network's input, or, with a `kind`, the photograph that it is made from.
        out: folder.
        layers: to be shown; by default the first, the last block's and what the last convolution reads.
        kind: test degradation.
        crop: side of the middle part that is used, LR pixels.

    Raises:
        RepsrError: see `load_subjects`, `read_middle` and `saliency`.
    """
    subjects = load_subjects(checkpoints, layers)
    named = layers_of(subjects[0].net)
    defaults = (next(iter(named.channels)), named.deepest_at_lr, named.before_last_convolution)
    shown = tuple(dict.fromkeys(layers or defaults))
    lr_hwc = _lr_image(image, subjects[0].net.spec.scale, kind, crop)
    _make_folder(out)
    results = {each.label: saliency.saliency(each.net, to_batch(lr_hwc, each.net)) for each in subjects}
    for name, found in zip(("maps.npz", "maps-against.npz"), results.values(), strict=False):
        with atomic_path(out / name) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **{layer: found[layer].maps_chw for layer in shown})
    for layer in shown:
        draw_maps(out / f"maps-{layer}.png", results, layer, lr_hwc)
    draw_shares(out / "shares.png", results, shown)
    draw_concentration(out / "concentration.png", results)
    content = {
        "image": image.name,
        "kind": kind,
        "lr_size": [lr_hwc.shape[1], lr_hwc.shape[0]],
        "networks": [
            {**each.describe(), "layers": {layer: found.to_dict() for layer, found in results[each.label].items()}}
            for each in subjects
        ],
    }
    _write_report(out / "saliency.json", saliency.PROTOCOL, content)
    return [
        f"{label}, layer {layer}: Gini coefficient {found[layer].gini:.3f}, "
        f"strongest channel {100 * found[layer].shares.max():.1f} % of the scores"
        for label, found in results.items()
        for layer in shown
    ] + [f"wrote {out}"]


def analyse_ablation(
    checkpoints: Sequence[Path],
    hr: Path,
    out: Path,
    *,
    layer: str | None,
    colour: Colour,
    kind: str,
    progress: Progress | None = None,
) -> list[str]:
    """PSNR of one or two networks without each channel of a layer, on a folder of photographs; lines for the user.

    Raises:
        RepsrError: see `load_subjects` and `ablate`.
    """
    subjects = load_subjects(checkpoints, [layer] if layer else [])
    for each in subjects:
        ablation.check_colour(each.net, colour)
    (parsed,) = parse_kinds([kind])
    paths = find_images([hr]).images
    _make_folder(out)
    results = {
        each.label: ablation.ablate(each.net, paths, layer=layer, kind=parsed, colour=colour, progress=progress)
        for each in subjects
    }
    draw_ablation(out / "ablation.png", results)
    content = {"networks": [{**each.describe(), **results[each.label].to_dict()} for each in subjects]}
    _write_report(out / "ablation.json", ablation.PROTOCOL, content)
    return [
        f"{label}, layer {found.layer}: {found.whole_db.mean():.2f} dB; without a channel "
        f"{found.change_db.min():+.3f} to {found.change_db.max():+.3f} dB, median {np.median(found.change_db):+.3f} dB"
        for label, found in results.items()
    ] + [f"wrote {out}"]


def analyse_representation(
    checkpoint: Path,
    hr: Path,
    out: Path,
    *,
    layer: str | None,
    kinds: Sequence[str],
    crop: int,
    count: int | None,
    progress: Progress | None = None,
) -> list[str]:
    """Deep degradation representation of a network on a folder of photographs; lines for the user.

    Raises:
        RepsrError: see `load_subjects` and `represent`.
    """
    (subject,) = load_subjects([checkpoint], [layer] if layer else [])
    paths = find_images([hr]).images[:count]
    parsed = parse_kinds(kinds) or KINDS
    _make_folder(out)
    found = representation.represent(subject.net, paths, layer=layer, kinds=parsed, crop=crop, progress=progress)
    draw_representation(out / "representation.png", found, subject.label)
    content = {"network": subject.describe(), **found.to_dict()}
    _write_report(out / "representation.json", representation.PROTOCOL, content, "sklearn")
    embedding = found.embedding
    return [
        f"{subject.label}, layer {found.layer}, {len(paths)} photographs, {len(parsed)} degradations",
        f"Calinski-Harabasz index of the t-SNE (random_state={representation.SEED}): {embedding.chi_tsne:.3g}",
        f"Calinski-Harabasz index of the {embedding.principal.shape[1]} principal components: "
        f"{embedding.chi_principal:.3g}",
        f"wrote {out}",
    ]


def _lr_image(image: Path, scale: int, kind: str | None, crop: int) -> Uint8:
    if kind is None:
        return middle(read_reference(image, 1), crop)
    (parsed,) = parse_kinds([kind])
    return degraded_lr(read_middle(image, crop, scale), scale, parsed, image.name)


def _make_folder(out: Path) -> None:
    """Find out that the results can be written before there are any."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RepsrError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error


def _write_report(path: Path, protocol: str, content: dict[str, Any], *packages: str) -> None:
    """Write what was found as JSON, with how it was found and with which versions."""
    versions = {name: str(import_module(name).__version__) for name in ("numpy", "torch", *packages)}
    document = {
        "command": f"repsr-train analyse {path.stem}",
        "protocol": protocol,
        "versions": {"repsr-deploy": __version__, "python": platform.python_version(), **versions},
        **content,
    }
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
