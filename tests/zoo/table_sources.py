"""The networks of the table of folds, each as an ONNX graph with all that it is trained with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from repsr_deploy.nets.network import build
from repsr_deploy.nets.spec import parse_name
from tests.zoo.blocks import BLOCKS, randomised
from tests.zoo.export import export_to
from tests.zoo.foreign import PLKSR, RCAN, SAFMN, SPAN, Compact, UpCunet2x

CHECKPOINTS = Path(__file__).parents[2].parent / "shared" / "data" / "checkpoints"
"""Published weights beside the repository; their rows are left out elsewhere."""

OURS = (
    *("repsr-m4c16-x2", "ecbsr-m4c16-x2", "plain-m4c16-x2", "wdsr-a-m8c32-x2", "wdsr-b-m8c32-x2"),
    *("edsr-m8c32-x2", "edsr-bn-m8c32-x2", "edsr-adadm-m8c32-x2", "srresnet-m8c32-x2", "srresnet-dropout-m8c32-x2"),
)
FOREIGN: Mapping[str, Callable[[], nn.Module]] = {
    "SPAN, 48 features, x4": lambda: SPAN(num_in_ch=3, num_out_ch=3, upscale=4),
    "PLKSR, 12 blocks, kernels 17, x4": lambda: PLKSR(n_blocks=12),
    "PLKSR, 12 blocks, rectangular kernels, x4": lambda: PLKSR(n_blocks=12, lk_type="RectSparsePLK"),
    "Compact, 64 features, 16 convolutions, x4": Compact,
    "SAFMN, 36 features, 8 blocks, x4": lambda: SAFMN(dim=36),
    "RealCUGAN, x2": UpCunet2x,
    "RCAN, 10 groups of 20 blocks, x2": lambda: RCAN(scale=2),
}
"""spandrel's classes at the sizes of their papers, PLKSR with fewer blocks."""
PUBLISHED = {
    "realesr-animevideov3 (Compact x4)": "realesr-animevideov3.pth",
    "NTIRE 2026 baseline (SPAN x4, stripped)": "ntire2026-span.pth",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A row of the table before anything is folded."""

    group: str
    write: Callable[[Path], object]
    """Writes the graph to a path."""


def sources() -> dict[str, Source]:
    """Name -> network, in the order of the table."""
    ours = {parse_name(name).name + f" x{parse_name(name).scale}": name for name in OURS}
    published = {name: CHECKPOINTS / file for name, file in PUBLISHED.items() if (CHECKPOINTS / file).is_file()}
    return {
        **{
            title: Source(group="Networks of this project, as trained", write=partial(_write_ours, name))
            for title, name in ours.items()
        },
        **{
            name: Source(group="Architectures of other projects, random weights", write=partial(_write_foreign, name))
            for name in FOREIGN
        },
        **{name: Source(group="Published weights", write=partial(_convert, path)) for name, path in published.items()},
        **{
            name: Source(
                group="Blocks of the literature, two of 8 channels each between head and tail, x2",
                write=partial(_write_block, name),
            )
            for name in BLOCKS
        },
    }


def _write_ours(name: str, path: Path) -> None:
    export_to(_randomised(lambda: build(parse_name(name))), path)


def _write_block(name: str, path: Path) -> None:
    export_to(BLOCKS[name](), path)


def _write_foreign(name: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "net.safetensors")
        save_file(dict(_randomised(FOREIGN[name]).state_dict()), file)
        _convert(file, path)


def _randomised(build_one: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return randomised(build_one())


def _convert(checkpoint: Path, path: Path) -> None:
    from repsr_deploy.export.zoo import load_foreign, to_onnx

    to_onnx(load_foreign(checkpoint), path)
