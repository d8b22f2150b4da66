"""What the codec says about a picture before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from repsr_deploy.errors import ImageFileError
from repsr_deploy.imaging.container import WEB_FORMATS, Container, WebFormat


@dataclass(frozen=True, kw_only=True)
class Header:
    """A whole file's picture: size and samples as they will be decoded."""

    format: WebFormat
    width: int
    """As seen, after the Exif orientation."""
    height: int
    channels: int
    """1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)."""
    sample_bytes: int
    """1 or 2."""

    @classmethod
    def of(cls, container: Container) -> Header:
        """The part of a container that a service asks for. Raises: ImageFileError: it is of another format."""
        width, height = container.seen_size
        if container.format not in WEB_FORMATS:
            raise ImageFileError(f"the image is {container.format}; expected {', '.join(WEB_FORMATS)}")
        return cls(
            format=container.format,
            width=width,
            height=height,
            channels=container.channels,
            sample_bytes=container.sample_bytes,
        )

    @property
    def pixels(self) -> int:
        """Width times height; 0 in files that claim no side."""
        return self.width * self.height

    @property
    def image_bytes(self) -> int:
        """What the decoded samples take."""
        return self.pixels * self.channels * self.sample_bytes
