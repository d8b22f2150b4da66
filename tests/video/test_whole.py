"""Videos that are there to their end, and those that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repsr_deploy.video.whole import is_whole


def _film(path: Path, form: str, codec: str, options: dict[str, str]) -> None:
    random = np.random.default_rng(0)
    with av.open(str(path), "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"  # type: ignore[attr-defined]
        for _ in range(30):
            noise = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(noise).reformat(format="yuv420p")
            container.mux(stream.encode(frame))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("form", "codec", "options"),
    [
        ("mp4", "libx264", {}),
        ("mp4", "libx264", {"movflags": "faststart"}),
        ("mov", "mpeg4", {}),
        ("matroska", "ffv1", {}),
        ("webm", "libvpx-vp9", {}),
    ],
)
def test_what_is_cut_off_is_not_whole(tmp_path: Path, form: str, codec: str, options: dict[str, str]) -> None:
    path = tmp_path / "film.bin"
    _film(path, form, codec, options)
    assert is_whole(path)
    data = path.read_bytes()
    for part in (0.0, 0.01, 0.3, 0.7):
        path.write_bytes(data[: int(part * len(data))])
        assert not is_whole(path), part


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "film.webm"])
def test_a_video_may_end_before_its_sound(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as film:
        video: Any = film.add_stream("libvpx-vp9", rate=5, width=64, height=48)
        sound: Any = film.add_stream("libopus", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 48000 * 5), np.int16), format="s16", layout="stereo")
        silence.sample_rate, silence.pts = 48000, 0
        for _ in range(10):
            film.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux([*video.encode(None), *sound.encode(silence), *sound.encode(None)])
    assert is_whole(path)


def test_what_is_no_video_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"text\n" * 100)
    for name in ("a.mp4", "missing.mp4", ".", "x" * 300):
        assert not is_whole(tmp_path / name)
