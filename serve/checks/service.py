"""A real `repsr-serve` in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from checks.processes import Usage, usage
from checks.wire import Address

HOST = "127.0.0.1"
START_S = 90.0
"""A first start chooses a runtime."""
STOP_S = 60.0
COMMAND = str(Path(sys.executable).with_name("repsr-serve"))
FOLDERS = ("cwd", "tmp", "data")
"""Everything that a service may write to: where it is started, TMPDIR, `--data-dir`."""
Options = Mapping[str, str | int | float]
"""Settings of the service, by their names on the command line."""


@dataclass(kw_only=True)
class Served:
    """A service that answers."""

    process: subprocess.Popen[bytes]
    address: Address
    folder: Path
    """Has `FOLDERS`, and what the service said: `log`."""
    options: Options = field(default_factory=dict[str, str | int | float])

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self.process.pid

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def usage(self) -> Usage:
        """What it takes at this moment."""
        return usage(self.pid)

    def files(self) -> list[str]:
        """What lies in its folders."""
        folders = (self.folder / name for name in FOLDERS)
        return sorted(str(path.relative_to(self.folder)) for folder in folders for path in folder.rglob("*"))

    def terminate(self, timeout_s: float = STOP_S) -> int:
        """SIGTERM; the exit status.

        Raises:
            subprocess.TimeoutExpired: it does not end.
        """
        self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the main process alone."""
        self.process.kill()
        self.process.wait()


@contextmanager
def folder_of_service() -> Generator[Path]:
    """A new folder, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="repsr-serve-check-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(options: Options, folder: Path | None = None, *, command: Sequence[str] = (COMMAND,)) -> Generator[Served]:
    """Start a service on a free port of loopback, wait until it is ready, and end it, whatever happens.

    Args:
        options: settings; `port` 0 and `data-dir` of its own unless given.
        folder: as `Served.folder`; a new one without it.
        command: another program that says where it answers, and takes the same options.

    Raises:
        RuntimeError: it does not become ready; with its last words.
    """
    if folder is None:
        with folder_of_service() as new, serving(options, new, command=command) as served:
            yield served
        return
    for name in FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    all_options = {"host": HOST, "port": 0, "data-dir": str(folder / "data"), **options}
    words = [word for name, value in all_options.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *words],
            cwd=folder / "cwd", env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield Served(process=process, address=(HOST, _port(process, folder / "log")), folder=folder, options=options)
    finally:
        _end(process)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the service says where it answers, which it does when it is ready."""
    limit = time.monotonic() + START_S
    while time.monotonic() < limit and process.poll() is None:
        if found := re.search(rf"http://{HOST}:(\d+)", log.read_text(errors="replace")):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"repsr-serve is not ready; it said: {log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: a worker may have outlived the main process."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
