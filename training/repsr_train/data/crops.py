"""Random crops: where they lie is a pure function of (seed, step), so training resumes without any state to save.

`plan_crops` alone decides; `CropSampler` cuts on the host, `DeviceSampler` (`device.py`) on the training device,
`streamed` (`stream.py`) in worker processes, all to the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from repsr_deploy.errors import UsageError
from repsr_train.data.pair import Pair, Report, Uint8, quiet

ROTATIONS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
"""For 1, 2 and 3 quarter turns counterclockwise."""


class Crop(NamedTuple):
    """One crop: cut from a photograph, turned counterclockwise by quarters, then mirrored left to right."""

    photo: int
    """Index of the photograph."""
    top: int
    """LR pixels, as `left`."""
    left: int
    turns: int
    """0 to 3."""
    mirror: int
    """0 or 1."""


def area_distribution(sides_n2: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cumulative distribution over photographs of LR height x width, in proportion to their areas."""
    areas = sides_n2.prod(axis=1).astype(np.float64)
    cumulative = (areas / areas.sum()).cumsum()
    return cumulative / cumulative[-1]


def plan_crops(
    sides_n2: NDArray[np.int64], distribution: NDArray[np.float64], *, patch: int, batch: int, seed: int, step: int
) -> list[Crop]:
    """The crops of a step.

    The stream of random numbers is fixed, since results of training depend on it: `batch` uniform numbers choose the
    photographs as `Generator.choice` does, then each crop takes four bounded integers: top, left, turns, mirror.

    Args:
        sides_n2: LR height and width of each photograph, at least `patch`.
        distribution: `area_distribution(sides_n2)`.
        patch: LR side of a crop.
    """
    random = np.random.default_rng((seed, step))
    photos = distribution.searchsorted(random.random(batch), side="right")
    limits = np.empty((batch, 4), np.int64)
    limits[:, :2] = sides_n2[photos] - patch + 1
    limits[:, 2:] = 4, 2
    rows = np.column_stack((photos, random.integers(limits)))
    return [Crop(*row) for row in rows.tolist()]


class CropSampler:
    """Random crops with flips and rotations, drawn in proportion to the photographs' areas, cut on the host.

    Args:
        pairs: photographs; those smaller than a crop are left out, which `report` is told.
        scale: of the pairs. At 1 the LR crops are the HR crops: for who degrades them itself, with the margin that
            this needs as a part of `patch`.
        patch: LR side of a crop.
        batch: crops of a step.

    Raises:
        UsageError: no photograph is large enough.
    """

    def __init__(
        self, pairs: Sequence[Pair], *, scale: int, patch: int, batch: int, seed: int, report: Report = quiet
    ) -> None:
        self.pairs = [pair for pair in pairs if min(pair.lr_hwc.shape[:2]) >= patch]
        if not self.pairs:
            raise UsageError(
                f"no photograph is {patch} LR pixels wide and high (patch={patch}, scale {scale}); use a smaller patch"
            )
        if len(self.pairs) < len(pairs):
            report(f"left out: {len(pairs) - len(self.pairs)} of {len(pairs)} photographs, smaller than patch={patch}")
        self.scale, self.patch, self.batch, self.seed = scale, patch, batch, seed
        self.sides_n2 = np.array([pair.lr_hwc.shape[:2] for pair in self.pairs], np.int64)
        self._distribution = area_distribution(self.sides_n2)

    def plan(self, step: int, part: slice | None = None) -> list[Crop]:
        """Which crops `draw` cuts."""
        crops = plan_crops(
            self.sides_n2, self._distribution, patch=self.patch, batch=self.batch, seed=self.seed, step=step
        )
        return crops[part or slice(None)]

    def draw(self, step: int, part: slice | None = None) -> tuple[Uint8, Uint8]:
        """The crops of a step: LR N x 3 x P x P and HR N x 3 x sP x sP, uint8.

        Args:
            part: of the batch, the share of one process of several; N is the whole batch without it.
        """
        crops = self.plan(step, part)
        lr_nchw = self._cut(crops, [self.pairs[crop.photo].lr_hwc for crop in crops], 1)
        if self.scale == 1:
            return lr_nchw, lr_nchw
        return lr_nchw, self._cut(crops, [self.pairs[crop.photo].hr_hwc for crop in crops], self.scale)

    def _cut(self, crops: Sequence[Crop], images: Sequence[Uint8], factor: int) -> Uint8:
        """Cut each crop out of the image beside it, of `factor` times the LR size."""
        side = self.patch * factor
        output_nchw = np.empty((len(crops), 3, side, side), np.uint8)
        for crop, image_hwc, target_chw in zip(crops, images, output_nchw, strict=True):
            top, left = crop.top * factor, crop.left * factor
            crop_hwc = image_hwc[top : top + side, left : left + side]
            if crop.turns:
                crop_hwc = cv2.rotate(crop_hwc, ROTATIONS[crop.turns - 1])
            if crop.mirror:
                crop_hwc = cv2.flip(crop_hwc, 1)
            for plane_hw, target_hw in zip(cv2.split(crop_hwc), target_chw, strict=True):
                target_hw[...] = plane_hw
        return output_nchw
