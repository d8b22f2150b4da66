"""A picture to measure on that needs no file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def photograph_like(side: int, colours: int) -> NDArray[np.uint8]:
    """A square picture with what photographs have, the same every time: uint8 side x side x colours.

    Texture whose amplitude falls with the frequency, as in natural scenes (Field, JOSA A 4, 1987), the channels nearly
    alike; bright and dark flat regions with sharp edges at many angles.
    """
    random = np.random.default_rng(0)
    rows, columns = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf

    def texture() -> NDArray[np.float64]:
        noise = np.fft.irfft2(np.fft.rfft2(random.normal(size=(side, side))) / frequency, s=(side, side))
        return noise / noise.std()

    shared = texture()
    planes = [0.5 + 0.16 * shared + 0.04 * texture() for _ in range(colours)]
    for index in range(12):
        x, y, radius, angle = random.uniform((-1, -1, 0.05, 0), (1, 1, 0.35, np.pi))
        inside = np.hypot(rows - y, columns - x) < radius
        if index % 2:  # half of a disc has a straight edge
            inside &= (rows - y) * np.cos(angle) > (columns - x) * np.sin(angle)
        for plane in planes:
            plane[inside] = 0.3 * plane[inside] + 0.7 * random.uniform(-0.2, 1.2)
    return np.rint(np.clip(np.stack(planes, axis=-1), 0, 1) * 255).astype(np.uint8)
