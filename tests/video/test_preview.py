"""The start of a video, before and after side by side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from repsr_deploy.imaging.enlargement import Enlargement, enlarge
from repsr_deploy.imaging.upscaler import Upscaler
from repsr_deploy.metrics.resize import imresize
from repsr_deploy.video.options import VideoOptions
from repsr_deploy.video.preview import preview_video
from repsr_deploy.video.segments import parts_path
from repsr_deploy.video.source import open_video
from repsr_deploy.video.upscale import upscale_video
from tests.video.clips import write_clip


def test_left_by_interpolation_right_upscaled(tmp_path: Path, upscaler: Upscaler) -> None:
    source = write_clip(tmp_path / "in.mkv", frames=24, audio=True, pix_fmt="yuv444p")
    target = tmp_path / "out.mkv"
    outcome = preview_video(source, target, upscaler, Enlargement(), VideoOptions(codec="ffv1"), seconds=0.25)
    assert (outcome.frames, outcome.size, outcome.new_size) == (6, (64, 48), (256, 96))
    with av.open(str(target)) as file:
        assert [stream.type for stream in file.streams] == ["video"]
    with open_video(source) as before, open_video(target) as after:
        assert after.info.colour == before.info.colour
        pairs = [*zip(after.frames(), before.frames(), strict=False)]
        assert len(pairs) == 6
        for made, frame in pairs:
            assert made.pts * after.info.time_base == frame.pts * before.info.time_base
            left, right = np.hsplit(made.image_hwc, 2)
            for half, expected in ((left, imresize(frame.image_hwc, 2)), (right, upscaler.upscale(frame.image_hwc))):
                assert cv2.absdiff(half, expected).max() <= 2  # through YUV of 8 bits and back


def test_a_picture_that_is_cut_shows_the_same_part_twice(tmp_path: Path, upscaler: Upscaler) -> None:
    for width, height in ((90, 90), (120, 40)):
        enlargement = Enlargement(width=width, height=height, fit="cover")
        source = write_clip(tmp_path / "in.mkv", frames=1)
        options = VideoOptions(codec="ffv1", pix_fmt="yuv444p")
        preview_video(source, tmp_path / "out.mkv", upscaler, enlargement, options, seconds=9)
        with open_video(source) as before, open_video(tmp_path / "out.mkv") as after:
            (frame,), (made,) = before.frames(), after.frames()
            left, right = np.hsplit(made.image_hwc, 2)
            assert left.shape == (height, width, 3)
            assert cv2.absdiff(right, enlarge(upscaler, frame.image_hwc, enlargement)).max() <= 2
            factor = max(Fraction(width, 64), Fraction(height, 48))
            x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
            at_x = ((x - width / 2) / float(factor) + 32 - 0.5).astype(np.float32)
            at_y = ((y - height / 2) / float(factor) + 24 - 0.5).astype(np.float32)
            grid = np.meshgrid(at_x, at_y)
            smooth = cv2.remap(frame.image_hwc, *grid, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            assert np.abs(left.astype(int) - smooth).mean() < 1


def test_a_preview_leaves_an_interrupted_run_alone(tmp_path: Path, upscaler: Upscaler) -> None:
    source, target = write_clip(tmp_path / "in.mkv", frames=24), tmp_path / "out.mkv"
    options = VideoOptions(codec="ffv1", segment_s=0.25)

    def interrupt(now: object) -> None:
        if getattr(now, "frames", 0) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_video(source, target, upscaler, Enlargement(), options, progress=interrupt)
    preview_video(source, target, upscaler, Enlargement(), options, seconds=0.1)
    assert parts_path(target).is_dir()
    outcome = upscale_video(source, target, upscaler, Enlargement(), options)
    assert (outcome.frames, outcome.resumed_frames) == (24, 6)
