"""What the service's pictures must be: made by the upscaler alone, in this process."""

from __future__ import annotations

from functools import cache
from random import Random

import cv2

from checks.photographs import Picture, decoded, mosaic
from checks.wire import Answer
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.upscaler import Upscaler

RUNTIME = "onnxruntime"
"""Of the service and of the reference, where pictures are compared: always here, and always the same bits."""
MODEL = "photo-x2"


@cache
def _upscaler() -> Upscaler:
    return Upscaler(MODEL, runtime=RUNTIME, threads=1)


def known_picture(width: int, height: int, seed: int = 0) -> tuple[Picture, Image]:
    """A PNG photograph, and what must come back for it."""
    image_hwc = mosaic(width, height, Random(seed))
    data = cv2.imencode(".png", image_hwc[..., ::-1])[1].tobytes()
    return Picture(data=data, width=width, height=height), _upscaler().upscale(image_hwc)


def difference(answer: Answer, expected_hwc: Image) -> str:
    """What is wrong about a picture that came back as PNG; empty when every sample is right."""
    try:
        found_hwc = decoded(answer.body)
    except ValueError as error:
        return str(error)
    if found_hwc.shape != expected_hwc.shape:
        return f"a picture of shape {found_hwc.shape}, wanted {expected_hwc.shape}"
    wrong = int((found_hwc != expected_hwc).any(axis=-1).sum())
    return f"{wrong} pixels are not those of repsr-upscale" if wrong else ""
