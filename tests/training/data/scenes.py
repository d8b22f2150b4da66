"""Made-up photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repsr_deploy.imaging.image_file import write_image
from repsr_train.data.pair import Pair

Uint8 = NDArray[np.uint8]


def scene(seed: int, height: int = 97, width: int = 130) -> Uint8:
    """A picture like no other of another seed: large coloured shapes and fine noise, uint8 H x W x 3."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(30, 220, (5, 6, 3))
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.clip(smooth + random.normal(0, 4, smooth.shape), 0, 255).round().astype(np.uint8)


def coded_pair(index: int, lr_height: int, lr_width: int, scale: int) -> Pair:
    """A pair whose pixels say where they come from: red the row, green the column, blue `index`."""

    def coded(height: int, width: int) -> Uint8:
        rows, columns = np.mgrid[:height, :width]
        return np.stack((rows, columns, np.full_like(rows, index)), axis=2).astype(np.uint8)

    return Pair(str(index), coded(lr_height * scale, lr_width * scale), coded(lr_height, lr_width))


def write_mixed(root: Path) -> None:
    """Two folders with photographs of every kind, broken and tiny files and copies among them."""
    mine, other = root / "mine", root / "other"
    (other / "deep").mkdir(parents=True)
    write_image(mine / "a-rgb.png", scene(1))
    write_image(mine / "b-gray.png", scene(2)[..., 0])
    write_image(mine / "c-rgba.png", np.dstack((scene(3), scene(4)[..., 0])))
    write_image(mine / "d-16-bit.png", scene(5).astype(np.uint16) * 257 + 100)
    Image.fromarray(scene(6)).convert("CMYK").save(mine / "e-cmyk.jpg", quality=95)
    write_image(mine / "f-large.jpg", scene(7, 400, 1700), quality=90)
    whole = (mine / "a-rgb.png").read_bytes()
    (mine / "g-cut.png").write_bytes(whole[: len(whole) // 2])
    (mine / "h-text.jpg").write_text("no photograph")
    (mine / "i-empty.webp").write_bytes(b"")
    write_image(mine / "j-tiny.png", scene(8, 20, 300))
    (mine / "notes.txt").write_text("no photograph either")
    write_image(other / "copy.png", scene(1))
    smaller = np.asarray(cv2.resize(scene(2), (104, 78), interpolation=cv2.INTER_AREA), np.uint8)
    write_image(other / "deep" / "smaller.jpg", smaller[..., 0], quality=80)
    write_image(other / "deep" / "new.webp", scene(9, 120, 90))
    for name, level in (("flat-1", 90), ("flat-2", 92), ("flat-3", 90)):
        write_image(other / f"{name}.png", np.full((80, 80, 3), level, np.uint8))
