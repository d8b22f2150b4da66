"""Pictures whose samples other processes can see without a copy."""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from repsr_deploy.imaging.picture import Picture
from repsr_serve.buffers import Buffer

NO_MEMORY = (errno.ENOMEM, errno.ENOSPC, errno.EFBIG)
"""What the system says when a buffer finds no room: in the address space, in memory, in a process's limit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedPicture(Picture):
    """A picture whose samples lie in a buffer, in C order from its start.

    `image_hwc` stays valid after `close`: the memory goes back when nobody holds the array any more.
    """

    buffer: Buffer

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: DTypeLike, icc_profile: bytes | None = None) -> SharedPicture:
        """A black one to be filled.

        Raises:
            MemoryError: more than this process may take.
        """
        buffer = Buffer()
        try:
            buffer.resize(math.prod(shape) * np.dtype(dtype).itemsize)
            image = map_image(buffer, shape, dtype, writable=True)
        except OSError as error:
            buffer.close()
            if error.errno not in NO_MEMORY:
                raise
            raise MemoryError(f"no memory for samples of shape {shape}") from error
        return cls(image_hwc=image, icc_profile=icc_profile, buffer=buffer)

    def close(self) -> None:
        """Give the buffer's descriptor back; may be called again."""
        self.buffer.close()


def map_image(buffer: Buffer, shape: tuple[int, ...], dtype: DTypeLike, *, writable: bool = False) -> NDArray[Any]:
    """The samples at the start of a buffer.

    Raises:
        OSError: they cannot be mapped.
        ValueError: the buffer is smaller.
    """
    count = math.prod(shape)
    return np.frombuffer(buffer.map(writable=writable), dtype, count).reshape(shape)
