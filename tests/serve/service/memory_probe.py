"""What pictures take in memory, in a process of their own: prints JSON, bytes by kind of picture."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from repsr_serve.buffers import Buffer
from repsr_serve.machine import resident_bytes
from repsr_serve.pictures import Order
from repsr_serve.service import Service
from tests.serve.service.running_service import file_of, noise, settings, until, value

SIDE = 900


@dataclass
class Peak:
    """Of resident memory beyond what it was, and of what was reserved for it."""

    grown: int = 0
    reserved: int = 0


def deep() -> bytes:
    samples = np.random.default_rng(0).integers(0, 2**16, (SIDE, SIDE, 4), np.uint16)
    return cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def progressive() -> bytes:
    smooth = cv2.GaussianBlur(noise(SIDE, SIDE), (0, 0), 2)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=95, progressive=True, subsampling=0)
    return file.getvalue()


KINDS: dict[str, tuple[Callable[[], bytes], Order]] = {
    "rgb": (lambda: file_of(noise(SIDE, SIDE), compress_level=1), Order()),
    "progressive, reduced": (progressive, Order(factor=0.3)),
    "three times, to jpeg": (lambda: file_of(noise(SIDE, SIDE), compress_level=1), Order(factor=3, format="jpeg")),
    "deep, to webp": (deep, Order(format="webp")),
    "gray": (lambda: file_of(noise(SIDE, SIDE, 1), compress_level=1), Order()),
}


@contextmanager
def watched(service: Service, pids: list[int]) -> Generator[Peak]:
    """Look at the memory of the service and its workers as often as possible."""
    peak, done = Peak(), threading.Event()
    before = resident_bytes(pids)

    def watch() -> None:
        while not done.is_set():
            peak.grown = max(peak.grown, resident_bytes(pids) - before)
            peak.reserved = max(peak.reserved, int(value(service, "memory_reserved_bytes")))
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


async def probe() -> dict[str, Peak]:
    """The peak of every kind, and what is left in the end."""
    service = Service(settings(workers=1, max_pixels=SIDE**2))
    await service.start()
    pids = [os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
    peaks: dict[str, Peak] = {}
    before = resident_bytes(pids)
    for name, (make, order) in KINDS.items():
        with Buffer.of(make()) as encoded:
            for _ in range(2):  # what the runtime keeps of a shape of tiles is there the second time
                with watched(service, pids) as peaks[name]:
                    (await service.upscale(encoded, order, max_pixels=SIDE**2)).encoded.close()
                    await until(lambda: value(service, "memory_reserved_bytes") == 0)
    peaks["left"] = Peak(resident_bytes(pids) - before)
    await service.stop()
    return peaks


if __name__ == "__main__":
    json.dump({name: asdict(peak) for name, peak in asyncio.run(probe()).items()}, sys.stdout)
