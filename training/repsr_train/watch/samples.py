"""Sample pictures: what the network makes of validation photographs, beside what it saw and what it should give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_deploy.imaging.image_file import write_image
from repsr_train.validation import Sample

GAP = 4
"""White pixels between pictures."""


def strip(sample: Sample) -> NDArray[np.uint8]:
    """LR enlarged by repeating its pixels | output | HR, uint8 RGB, sP x (3 sP + gaps) x 3."""
    scale = sample.hr_hwc.shape[0] // sample.lr_hwc.shape[0]
    nearest_hwc = sample.lr_hwc.repeat(scale, axis=0).repeat(scale, axis=1)
    gap_hwc = np.full((len(nearest_hwc), GAP, 3), 255, np.uint8)
    return np.concatenate([nearest_hwc, gap_hwc, sample.output_hwc, gap_hwc, sample.hr_hwc], axis=1)


def file_name(index: int, sample: Sample) -> str:
    """Its number and the photograph's name, without folders."""
    return f"{index}-{Path(sample.name).stem}"


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write each sample's strip as PNG; those of the validation before are replaced."""
    for index, sample in enumerate(samples):
        write_image(folder / f"{file_name(index, sample)}.png", strip(sample))
