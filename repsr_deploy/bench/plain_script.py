"""What a person writes who has a checkpoint and no toolchain: spandrel loads it, PyTorch runs it, OpenCV reads and
writes pictures and reads video, PyAV encodes it. One thing after the other, whole pictures, 32-bit floats.

It does the same work as `repsr-upscale`: the same weights, the same settings of the same encoders, as many threads.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from repsr_deploy.errors import ImageFileError, UsageError, VideoFileError
from repsr_deploy.imaging.batch import LOAD, PROCESS, SAVE
from repsr_deploy.imaging.image_file import QUALITY, format_of

WRITING: Mapping[str, Sequence[int]] = {
    "jpeg": (
        *(cv2.IMWRITE_JPEG_QUALITY, QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ),
    "webp": (cv2.IMWRITE_WEBP_QUALITY, QUALITY),
}
"""By format, as `encode_image` asks for."""


@dataclass(frozen=True, kw_only=True)
class VideoEncoding:
    """How to encode a video."""

    encoder: str
    """FFmpeg's name."""
    pix_fmt: str
    options: Mapping[str, str]


def write_checkpoint(model: Path, checkpoint: Path) -> None:
    """A plain network in ONNX as a checkpoint that spandrel knows (Compact, `export.compact`).

    Raises:
        FoldError: it is no such network.
        UsageError: a package is missing.
    """
    import onnx_ir as ir

    from repsr_deploy.export.compact import save_compact, to_compact

    save_compact(checkpoint, to_compact(ir.load(model)))


class PlainScript:
    """The script, its network loaded.

    Args:
        checkpoint: a file that spandrel knows.
        threads: of PyTorch, for the whole process.

    Raises:
        UsageError: spandrel is not installed.
    """

    def __init__(self, checkpoint: Path, *, threads: int) -> None:
        try:
            from spandrel import ImageModelDescriptor, ModelLoader
        except ModuleNotFoundError as error:
            raise UsageError(
                f"a plain script needs {error.name}, which is not installed; `pip install repsr-deploy[zoo]`, or leave "
                "--plain away"
            ) from error
        torch.set_num_threads(threads)
        net = ModelLoader("cpu").load_from_file(checkpoint)
        assert isinstance(net, ImageModelDescriptor)
        self._net: Any = net.eval()
        self.stages_s: dict[str, float] = dict.fromkeys((LOAD, PROCESS, SAVE), 0.0)
        """Seconds that each stage has taken so far."""

    @property
    def limiting(self) -> str:
        """The stage that has taken longest."""
        return max(self.stages_s, key=lambda stage: self.stages_s[stage])

    def upscale(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """H x W x 3 to scale*H x scale*W x 3."""
        image_rgb = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
        batch_nchw = torch.from_numpy(image_rgb).permute(2, 0, 1).unsqueeze(0).float() / 255
        with torch.inference_mode():
            output_nchw = self._net(batch_nchw)
        output_rgb = (output_nchw[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        return np.asarray(cv2.cvtColor(output_rgb, cv2.COLOR_RGB2BGR), np.uint8)

    def picture(self, source: Path, target: Path) -> None:
        """One file.

        Raises:
            ImageFileError: OpenCV cannot read or write it.
        """
        with self._in(LOAD):
            image = cv2.imread(str(source))
        if image is None:
            raise ImageFileError(f"OpenCV cannot read {source}; expected a picture of 8 bits")
        with self._in(PROCESS):
            made = self.upscale(np.asarray(image, np.uint8))
        with self._in(SAVE):
            written = cv2.imwrite(str(target), made, WRITING.get(format_of(target), ()))
        if not written:
            raise ImageFileError(f"OpenCV cannot write {target}")

    def video(self, source: Path, target: Path, encoding: VideoEncoding) -> int:
        """One file, without its sound; the number of frames.

        Raises:
            VideoFileError: OpenCV cannot read it.
        """
        import av

        capture: Any = cv2.VideoCapture(str(source))
        count = 0
        try:
            with av.open(str(target), "w") as container:
                rate = round(capture.get(cv2.CAP_PROP_FPS))
                stream: Any = container.add_stream(encoding.encoder, rate=rate, options=dict(encoding.options))
                while (image := self._next_frame(capture)) is not None:
                    with self._in(PROCESS):
                        made = self.upscale(image)
                    if not count:
                        stream.height, stream.width = made.shape[:2]
                        stream.pix_fmt = encoding.pix_fmt
                    with self._in(SAVE):
                        container.mux(stream.encode(av.VideoFrame.from_ndarray(made, format="bgr24")))
                    count += 1
                if not count:
                    raise VideoFileError(f"OpenCV finds no frame in {source}")
                with self._in(SAVE):
                    container.mux(stream.encode())
        finally:
            capture.release()
        return count

    def _next_frame(self, capture: Any) -> NDArray[np.uint8] | None:
        with self._in(LOAD):
            found, image = capture.read()
        return image if found else None

    @contextmanager
    def _in(self, stage: str) -> Generator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages_s[stage] += time.perf_counter() - start
