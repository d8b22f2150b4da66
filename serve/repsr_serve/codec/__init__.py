"""Reading and writing pictures in worker processes."""

from __future__ import annotations

from repsr_deploy.imaging.picture import Picture
from repsr_serve.codec.errors import WorkerDied
from repsr_serve.codec.header import Header
from repsr_serve.codec.picture import SharedPicture
from repsr_serve.codec.pool import Codec

__all__ = ["Codec", "Header", "Picture", "SharedPicture", "WorkerDied"]
