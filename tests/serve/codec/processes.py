"""What the system says about processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def exists(pid: int) -> bool:
    """Whether a process is there, zombies included."""
    return Path(f"/proc/{pid}").exists()


def open_files() -> int:
    """Descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
