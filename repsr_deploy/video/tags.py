"""What a video says of its colours, and what is taken where it says nothing.

Numbers are those of ITU-T H.273, as FFmpeg has them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from repsr_deploy.errors import VideoFileError
from repsr_kernels.yuv import MatrixName

Range = Literal["tv", "pc"]

RGB, BT709, UNSPECIFIED, BT601_625, BT601, BT2020 = 0, 1, 2, 5, 6, 9
MATRICES: dict[int, MatrixName] = {BT709: "bt709", BT601_625: "bt601", BT601: "bt601", BT2020: "bt2020"}
"""Code of a matrix -> its numbers."""
CHROMA_POSITIONS: dict[str, tuple[float, float]] = {
    "left": (0, 0.5), "center": (0.5, 0.5), "topleft": (0, 0), "top": (0.5, 0), "bottomleft": (0, 1),
    "bottom": (0.5, 1),
}  # fmt: skip
"""FFmpeg's name of a chroma location -> column and row of the first chroma sample of 4:2:0, in pixels."""
UNSPECIFIED_LOCATION = "unspecified"
RANGES: dict[int, Range] = {1: "tv", 2: "pc"}
"""FFmpeg's `AVColorRange`, but for the unspecified one."""

HD_WIDTH, SD_HEIGHT = 1280, 576


@dataclass(frozen=True, kw_only=True)
class Colour:
    """How the samples of a video mean colours. Primaries and transfer are kept, and change nothing that is computed."""

    matrix: int = UNSPECIFIED
    """From red, green and blue; 0 for video that holds these themselves."""
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range: Range = "tv"
    """Whether black and white are 16 and 235 (of 8 bits), `tv`, or 0 and 255, `pc`."""
    chroma_location: str = UNSPECIFIED_LOCATION
    """FFmpeg's name. Unspecified is taken for `left`, as players do."""

    @property
    def name(self) -> MatrixName:
        """The matrix by name.

        Raises:
            VideoFileError: none of those that are known.
        """
        if self.matrix not in MATRICES:
            raise VideoFileError(
                f"the video's colour matrix has code {self.matrix}; expected BT.601 (5, 6), BT.709 (1) or "
                "BT.2020 with non-constant luminance (9); convert it with ffmpeg first"
            )
        return MATRICES[self.matrix]

    @property
    def chroma_position(self) -> tuple[float, float]:
        """Column and row of the first chroma sample of 4:2:0, in pixels."""
        return CHROMA_POSITIONS.get(self.chroma_location, CHROMA_POSITIONS["left"])

    def tag(self, target: Any) -> None:
        """Write it onto an `av.VideoFrame` or a video `av.CodecContext`, which take all but the chroma location.

        An encoder takes that one as its option `chroma_sample_location`.
        """
        target.colorspace, target.color_primaries, target.color_trc = self.matrix, self.primaries, self.transfer
        target.color_range = 1 if self.range == "tv" else 2

    def in_format(self, pix_fmt: str) -> Colour:
        """As it is in video of another pixel format (FFmpeg's name): RGB has no matrix and no chroma.

        What was RGB becomes BT.709 in YUV, with tv range.
        """
        from av.video.format import VideoFormat

        if VideoFormat(pix_fmt).is_rgb:
            return replace(self, matrix=RGB, range="pc", chroma_location=UNSPECIFIED_LOCATION)
        if self.matrix == RGB:
            return replace(self, matrix=BT709, range="tv")
        return self


def assumed_matrix(width: int, height: int) -> int:
    """What players take for the matrix of a video that does not say it: BT.601 up to 576 lines, else BT.709.

    Films without their black bars have fewer lines: 1280 columns mean BT.709, too.
    """
    return BT709 if width >= HD_WIDTH or height > SD_HEIGHT else BT601


def colour_of(frame: Any, chroma_location: str) -> Colour:
    """The colour of a decoded `av.VideoFrame`, with a matrix and a range where it does not say them.

    The matrix is so written into what is made from it: the enlarged video may be of the size for which players
    assume another one.
    """
    pix_fmt = frame.format
    matrix = frame.colorspace
    if pix_fmt.is_rgb or pix_fmt.has_palette:
        matrix = RGB
    elif matrix in (RGB, UNSPECIFIED, 3):  # 3 is reserved; 0 is wrong for YUV
        matrix = assumed_matrix(frame.width, frame.height)
    full = pix_fmt.name.startswith(("yuvj", "gray", "ya", "mono")) or matrix == RGB
    return Colour(
        matrix=matrix,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        range=RANGES.get(frame.color_range, "pc" if full else "tv"),
        chroma_location=chroma_location,
    )
