"""Pictures and videos are told apart by what is in them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest

from repsr_deploy.imaging.kinds import is_video

CONTAINERS = {
    "mp4": "mpeg4", "mov": "mpeg4", "matroska": "mpeg4", "webm": "libvpx-vp9", "avi": "mpeg4", "mpegts": "mpeg2video",
    "vob": "mpeg2video", "asf": "mpeg4", "flv": "flv", "ogg": "ffv1", "mxf": "mpeg2video", "3gp": "mpeg4",
    "yuv4mpegpipe": "wrapped_avframe",
}  # fmt: skip


def _film(form: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options={"strict": "experimental"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"  # type: ignore[attr-defined]
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8)).reformat(format="yuv420p")
        for _ in range(30):
            frame.pts = None
            container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]
    return file.getvalue()


@pytest.mark.parametrize("form", CONTAINERS)
def test_a_film_under_any_name(tmp_path: Path, form: str) -> None:
    # films in Ogg need libtheora, which few builds have
    data = b"OggS\x00\x02" if form == "ogg" else _film(form, CONTAINERS[form])
    for name in ("film.bin", "film.png"):
        (tmp_path / name).write_bytes(data)
        assert is_video(tmp_path / name)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_picture_under_any_name(tmp_path: Path, form: str) -> None:
    for name in ("picture.bin", "picture.mp4"):
        PIL.Image.new("RGB", (20, 10)).save(tmp_path / name, format=form)
        assert not is_video(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"text\n", b"\x00\x00\x00\x20ftypheic\x00\x00\x00\x00mif1", b"\x47" * 100])
def test_what_is_neither_goes_by_its_name(tmp_path: Path, data: bytes) -> None:
    for name, video in (("a.png", False), ("a.bin", False)):
        (tmp_path / name).write_bytes(data)
        assert is_video(tmp_path / name) == video
    (tmp_path / "a.MP4").write_bytes(data)
    assert is_video(tmp_path / "a.MP4")
    assert is_video(tmp_path / "missing.mkv")
    assert not is_video(tmp_path / "missing.png")
    assert not is_video(tmp_path)
