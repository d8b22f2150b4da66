"""A process that reads and writes pictures for the codec, and that hostile ones may break.

It knows no path and no client: a request brings its bytes as a descriptor, the answer takes the result back as one.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from repsr_deploy.errors import ImageFileError, RepsrError
from repsr_deploy.imaging.container import WEB_FORMATS
from repsr_deploy.imaging.image_bytes import NAMELESS, decode_image, encode_image, read_header
from repsr_serve.buffers import Buffer
from repsr_serve.codec.header import Header
from repsr_serve.codec.picture import NO_MEMORY, SharedPicture, map_image
from repsr_serve.codec.wire import Inbox, Message, send

MAX_OPEN_FILES = 64
ALARM_GRACE_S = 5
"""How much later than the service a worker itself ends what takes too long."""
OOM_SCORE = 500
"""So that the system, when its memory runs out, ends a worker rather than the service."""
_LONGEST_LINE = 300


def main() -> None:
    """Answer requests until the other side is gone.

    Arguments of the process: the connection's descriptor, the memory in bytes that pictures may take, the niceness.
    """
    descriptor, memory_bytes, niceness = map(int, sys.argv[1:])
    lines = _confine(memory_bytes, niceness)
    inbox = Inbox()
    with socket.socket(fileno=descriptor) as connection:
        try:
            send(connection, Message({"ready": True}))
            while True:
                request = inbox.receive(connection)
                if request is None:
                    continue
                # ends this process, should the other side no longer be there to do so
                signal.alarm(math.ceil(request.words["limit_s"]) + ALARM_GRACE_S)
                answer = _answer(request)
                signal.alarm(0)
                answer.words["log"] = lines.taken()
                send(connection, answer)
                answer.close()
        except (EOFError, OSError):
            return


def _confine(memory_bytes: int, niceness: int) -> _Lines:
    """Give up what hostile content could use; from here on the log goes into the answers."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group: the service decides when it ends
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    cv2.setNumThreads(1)
    os.nice(niceness)
    limits = {
        resource.RLIMIT_FSIZE: memory_bytes,  # of buffers, too
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        taken_pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = taken_pages * resource.getpagesize() + memory_bytes
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    lines = _Lines()
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    return lines


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage()[:_LONGEST_LINE])

    def taken(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


def _answer(request: Message) -> Message:
    try:
        return _JOBS[request.words["job"]](request)
    except RepsrError as error:
        return Message({"error": type(error).__name__, "message": str(error)})
    except (MemoryError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in NO_MEMORY:
            return Message({"defect": traceback.format_exc()[-4096:]})
        message = f"no memory to {request.words['job']} {NAMELESS}; expected a smaller one"
        return Message({"error": ImageFileError.__name__, "message": message})
    except Exception:
        return Message({"defect": traceback.format_exc()[-4096:]})
    finally:
        request.close()


def _probe(request: Message) -> Message:
    (encoded,) = request.buffers
    return Message(asdict(Header.of(read_header(encoded.map(), formats=WEB_FORMATS))))


def _decode(request: Message) -> Message:
    (encoded,) = request.buffers
    made: list[SharedPicture] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        made.append(SharedPicture.empty(shape, dtype))
        return made[0].image_hwc

    most = request.words["max_pixels"]
    picture = decode_image(encoded.map(), max_pixels=most, allocate=allocate, formats=WEB_FORMATS)
    image = picture.image_hwc
    profile = [] if picture.icc_profile is None else [Buffer.of(picture.icc_profile)]
    return Message({"shape": image.shape, "dtype": image.dtype.name}, [made[0].buffer, *profile])


def _encode(request: Message) -> Message:
    pixels, *profile = request.buffers
    words = request.words
    encoded = encode_image(
        map_image(pixels, tuple(words["shape"]), words["dtype"]),
        words["format"],
        quality=words["quality"],
        icc_profile=bytes(profile[0].map()) if profile else None,
    )
    result = Buffer()
    result.write(encoded)
    return Message({}, [result])


_JOBS: dict[str, Callable[[Message], Message]] = {"probe": _probe, "decode": _decode, "encode": _encode}

if __name__ == "__main__":
    main()
