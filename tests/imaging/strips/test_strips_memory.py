"""Memory stays bounded, however large the picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyvips
import tifffile

from tests.runtimes.models import plain_model, spec_of

WIDTH, HEIGHT = 6000, 4000
GROWTH = """
import sys
from pathlib import Path
from repsr_deploy.imaging.strips import upscale_strips
from repsr_deploy.imaging.upscaler import Upscaler

def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

folder = Path(sys.argv[1])
upscaler = Upscaler(folder / "model.onnx", runtime="onnxruntime", threads=1, tile=256)
upscale_strips(folder / "small.tif", folder / "b.tif", upscaler, block_bytes=2**21)
before = peak_bytes()
upscale_strips(folder / "large.tif", folder / "b.tif", upscaler, block_bytes=2**21)
print(peak_bytes() - before)
"""


def test_memory_does_not_grow_with_the_picture(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(plain_model(spec_of(2, 1, 2)).SerializeToString())
    row = np.random.default_rng(0).integers(0, 256, (1, WIDTH), np.uint8)
    large = pyvips.Image.new_from_array(row).replicate(1, HEIGHT)
    large.tiffsave(str(tmp_path / "large.tif"), compression="none")
    large.crop(0, 0, WIDTH, 500).tiffsave(str(tmp_path / "small.tif"), compression="none")
    told = subprocess.run([sys.executable, "-c", GROWTH, tmp_path], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 0.3 * (1 + 2**2) * WIDTH * HEIGHT
    with tifffile.TiffFile(tmp_path / "b.tif") as result:
        assert result.pages[0].shape == (2 * HEIGHT, 2 * WIDTH)
