"""Upscales a picture that this script makes, in processes that it watches; see scripts/gigapixel_check."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import skimage.data

from repsr_deploy.imaging.strips import upscale_strips
from repsr_deploy.imaging.upscaler import Upscaler

LIMIT_MIB = 2048
KILL_AT = 0.4
WINDOWS, WINDOW_SIDE, CONTEXT = 32, 160, 40
PHOTO: Any = skimage.data.astronaut()
NOISE: Any = np.rint(np.random.default_rng(0).normal(0, 6, (1021, 1019, 1))).astype(np.int16)


def main() -> int:
    """Make, kill, continue, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=40_000)
    parser.add_argument("--height", type=int, default=25_000)
    parser.add_argument("--form", choices=["png", "tif"], default="png")
    parser.add_argument("--model", default="photo-x2")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--threads", type=int, help="of the upscaler; one per core without")
    parser.add_argument("--folder", type=Path, help="where there is room; a temporary one without")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        return run(options)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = check(options, Path(folder))
    print(json.dumps(report, indent=2))  # noqa: T201
    return 0 if report["right"] and report["peak_mib"] <= LIMIT_MIB else 1


def check(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in a folder of its own."""
    source, target = folder / f"picture.{options.form}", folder / "result.tif"
    make(source, options.width, options.height)
    killed = watch(options, folder, kill_at=KILL_AT)
    left = sorted(path.name for path in folder.iterdir())
    done = watch(options, folder)
    result = pyvips.Image.new_from_file(str(target))
    return {
        "size": [options.width, options.height],
        "new_size": [result.width, result.height],
        "form": options.form,
        "model": options.model,
        "threads": options.threads,
        "source_bytes": source.stat().st_size,
        "result_bytes": target.stat().st_size,
        "big_tiff": _starts_big(target),
        "peak_mib": max(killed["peak_mib"], done["peak_mib"]),
        "seconds": round(killed["seconds"] + done["seconds"], 1),
        "killed_at": round(killed["share"], 3),
        "left_by_the_kill": left,
        "resumed_at_row": done["outcome"]["resumed_at_row"],
        "left_at_the_end": sorted(path.name for path in folder.iterdir()),
        "windows": WINDOWS,
        "right": all_windows_right(options, result),
    }


def make(path: Path, width: int, height: int) -> None:
    """A photograph repeated, under noise that repeats otherwise, so that no two places are alike."""
    photo, noise = (
        pyvips.Image.new_from_array(tile).replicate(-(-width // tile.shape[1]), -(-height // tile.shape[0]))
        for tile in (PHOTO, NOISE)
    )
    picture = (photo + noise).crop(0, 0, width, height).cast("uchar").copy(interpretation="srgb")
    if path.suffix == ".png":
        picture.pngsave(str(path), compression=1)
    else:
        picture.tiffsave(str(path), compression="lzw", predictor="horizontal", bigtiff=True)


def window_of(top: int, left: int, height: int, width: int) -> Any:
    """What `make` put there, without a file."""
    rows, columns = np.arange(top, top + height), np.arange(left, left + width)
    photo, noise = (
        tile[rows[:, None] % tile.shape[0], columns[None] % tile.shape[1]].astype(np.int16) for tile in (PHOTO, NOISE)
    )
    return (photo + noise).clip(0, 255).astype(np.uint8)


def watch(options: argparse.Namespace, folder: Path, *, kill_at: float = 2) -> dict[str, Any]:
    """Run the upscaler in a process of its own, up to a share of the work."""
    started, last = time.monotonic(), dict[str, Any]()
    with subprocess.Popen(
        [sys.executable, __file__, *sys.argv[1:], "--run", str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = json.loads(line)
                if last["share"] >= kill_at:
                    process.send_signal(signal.SIGKILL)
                    break
        finally:
            process.kill()
    if "outcome" not in last and kill_at > 1:
        raise RuntimeError(f"the upscaler ended with {process.returncode} at {last}")
    return {**last, "seconds": time.monotonic() - started}


def run(options: argparse.Namespace) -> int:
    """The process that is watched: a line of JSON for every step."""

    def say(done: int, todo: int, **more: Any) -> None:
        print(json.dumps({"share": done / todo, "peak_mib": peak_mib(), **more}), flush=True)  # noqa: T201

    upscaler = Upscaler(options.model, runtime=options.runtime, threads=options.threads)
    outcome = upscale_strips(
        options.run / f"picture.{options.form}", options.run / "result.tif", upscaler, progress=say
    )
    say(1, 1, outcome={"resumed_at_row": outcome.resumed_at_row})
    return 0


def peak_mib() -> int:
    """Most resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def all_windows_right(options: argparse.Namespace, result: Any) -> bool:
    """Whether random windows, and the corners, are what the upscaler makes of that place alone."""
    upscaler = Upscaler(options.model, runtime=options.runtime, threads=options.threads)
    random, scale = np.random.default_rng(1), upscaler.info.scale
    most = options.height - WINDOW_SIDE, options.width - WINDOW_SIDE
    corners = [(0, 0), (0, most[1]), (most[0], 0), most]
    places = [*corners, *((int(random.integers(most[0])), int(random.integers(most[1]))) for _ in range(WINDOWS - 4))]
    return all(_is_right(options, upscaler, result, scale, *place) for place in places)


def _is_right(
    options: argparse.Namespace, upscaler: Upscaler, result: Any, scale: int, row: int, column: int
) -> bool:  # fmt: skip
    top, left = max(0, row - CONTEXT), max(0, column - CONTEXT)
    bottom, right = (
        min(side, start + WINDOW_SIDE + CONTEXT)
        for side, start in ((options.height, row), (options.width, column))
    )  # fmt: skip
    expected = upscaler.upscale(window_of(top, left, bottom - top, right - left))
    inside = expected[
        (row - top) * scale : (row - top + WINDOW_SIDE) * scale,
        (column - left) * scale : (column - left + WINDOW_SIDE) * scale,
    ]
    side = WINDOW_SIDE * scale
    return bool(np.array_equal(inside, result.crop(column * scale, row * scale, side, side).numpy()))


def _starts_big(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"II+\0"


if __name__ == "__main__":
    sys.exit(main())
