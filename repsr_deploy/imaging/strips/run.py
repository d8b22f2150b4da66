"""A picture of any size through an upscaler: read, upscaled, deflated and written at the same time, block by block."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from repsr_deploy.errors import ImageFileError, RepsrError, UsageError
from repsr_deploy.imaging.enlargement import Enlargement
from repsr_deploy.imaging.network import PlaneNetwork
from repsr_deploy.imaging.samples import Image
from repsr_deploy.imaging.strips.check import check_strips
from repsr_deploy.imaging.strips.identity import Identity, identity_of
from repsr_deploy.imaging.strips.plan import BLOCK_BYTES, Block, Plan, Strip, plan_strips
from repsr_deploy.imaging.strips.source import LargePicture, open_large
from repsr_deploy.imaging.strips.workplace import Workplace
from repsr_deploy.imaging.strips.writer import TiledTiff, complete
from repsr_deploy.imaging.tiling import Box, Tile
from repsr_deploy.imaging.upscaler import Progress, Upscaler
from repsr_deploy.stages import Pipeline, Stage

log = logging.getLogger(__name__)

_MOST_DEFLATERS = 4


@dataclass(frozen=True, kw_only=True)
class StripsOutcome:
    """What became of a large picture."""

    size: tuple[int, int]
    """(width, height) of the picture, as seen."""
    new_size: tuple[int, int]
    seconds: float
    resumed_at_row: int | None
    """Row of the picture as stored at which an interrupted run was continued; None where there was none."""


@dataclass(frozen=True)
class _Part:
    """A part of the picture on its way, as seen."""

    tile: Tile
    image_hwc: Image


def upscale_strips(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    *,
    progress: Progress | None = None,
    restart: bool = False,
    block_bytes: int = BLOCK_BYTES,
) -> StripsOutcome:
    """Enlarge a picture of any size by the model's scale; bit-identical to `Upscaler.upscale` of the whole.

    Memory is bounded, whatever the size: a few times `block_bytes`, and what the upscaler takes for its tiles. What is
    done lies in a folder beside the target until all is; when the process is interrupted or killed, the same call
    continues. It starts anew when picture, model, backend, or our version differ.

    Args:
        source: PNG, TIFF or JPEG; gray or RGB, with or without alpha, of 8 or 16 bits.
        target: .tif or .tiff; of tiles, deflated; a BigTIFF where it may get larger than 4 GB. It is upright:
            the orientation is applied. Profile, Exif, XMP and resolution are kept.
        progress: called with pixels of the source done and to do, first before the work, with what is done already.
        restart: do not continue.
        block_bytes: memory for a strip of the picture, and for a block of the result.

    Raises:
        UsageError: what cannot be done in strips, or another process is at it.
        ImageFileError: the source cannot be read, or changes meanwhile.
        RuntimeUnavailableError: libvips is not installed.
        ModelFileError: the network gives NaN or infinity.
        RepsrError: the target cannot be written, or the disk is full; continues when there is room.
    """
    started = time.perf_counter()
    source, target = Path(source), Path(target)
    check_strips(target, upscaler, Enlargement())
    if target.is_dir():
        raise UsageError(f"{target} is a folder; expected the name of a file")
    picture = open_large(source)
    scale = upscaler.info.scale
    try:
        plan = _plan(picture, upscaler, block_bytes)
    except ImageFileError as error:
        raise ImageFileError(f"{source} cannot be read in strips: {error}") from error
    width, height = picture.turn.size(picture.width, picture.height)
    form = TiledTiff(
        width=width * scale, height=height * scale, channels=picture.channels, dtype=picture.dtype,
        tile_width=plan.tile_width, tile_length=plan.tile_length,
    )  # fmt: skip
    metadata = picture.metadata(scale)
    before = _state_of(source)
    identity = identity_of(picture, upscaler, plan)
    with _workplace(target) as workplace:
        boxes = [block.tile.core.scaled(scale) for block in plan.blocks]
        done = _begin(workplace, identity, form, boxes, restart=restart)
        _check_room(workplace, form)
        _upscale_blocks(picture, upscaler, plan, form, workplace, progress)
        if _state_of(source) != before:
            raise ImageFileError(f"{source} was changed while it was read; run again when it is at rest")
        complete(form, boxes, workplace, metadata)
        workplace.finish()
    return StripsOutcome(
        size=(width, height),
        new_size=(form.width, form.height),
        seconds=time.perf_counter() - started,
        resumed_at_row=plan.rows_done(done) if done else None,
    )


def _state_of(source: Path) -> tuple[int, int] | None:
    """What changes with its content; None when it is gone."""
    try:
        found = source.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _plan(picture: LargePicture, upscaler: Upscaler, block_bytes: int) -> Plan:
    limits = upscaler.runtime.limits
    return plan_strips(
        picture.width,
        picture.height,
        pixel_bytes=picture.pixel_bytes,
        scale=upscaler.info.scale,
        turn=picture.turn,
        halo=PlaneNetwork(upscaler.runtime).halo(picture.channels),
        least=(1, 1) if limits is None else (limits.height[0], limits.width[0]),
        block_bytes=block_bytes,
    )


def _begin(workplace: Workplace, identity: Identity, form: TiledTiff, boxes: Sequence[Box], *, restart: bool) -> int:
    """Number of blocks that need not be made again."""
    if restart:
        workplace.restart(identity, form.header())
        return 0
    differences = workplace.resume(identity, form.header(), [len(form.tiles(box)) for box in boxes])
    if differences:
        log.warning(
            "%s is started anew: other %s than in the interrupted run", workplace.target, ", ".join(differences)
        )
    done = len(workplace.blocks)
    if done:
        log.warning("%s is continued: %d %% of it were done", workplace.target, 100 * done // len(boxes))
    return done


def _upscale_blocks(
    picture: LargePicture,
    upscaler: Upscaler,
    plan: Plan,
    form: TiledTiff,
    workplace: Workplace,
    progress: Progress | None,
) -> None:
    """Make all blocks that are not done; one is read, one upscaled, one deflated and one written at a time."""
    scale, blocks, done = upscaler.info.scale, plan.blocks, len(workplace.blocks)
    todo_pixels, pixels = picture.width * picture.height, sum(block.tile.core.pixels for block in blocks[:done])
    stopped = threading.Event()

    def upscale(part: _Part) -> _Part:
        def give_up(_done: int, _todo: int) -> None:
            if stopped.is_set():
                raise InterruptedError("the run ends before its end")

        made = upscaler.upscale(part.image_hwc, progress=give_up)
        return _Part(part.tile, made[part.tile.crop.scaled(scale).slices])

    def deflate(part: _Part) -> tuple[Tile, list[bytes]]:
        return part.tile, form.deflated(part.image_hwc, part.tile.core.scaled(scale), pool)

    if progress is not None:
        progress(pixels, todo_pixels)
    stages = [Stage(name="upscale", work=upscale), Stage(name="deflate", work=deflate)]
    with (
        ThreadPoolExecutor(min(_MOST_DEFLATERS, os.cpu_count() or 1)) as pool,
        Pipeline(
            _blocks(picture, plan.strips, done), stages, waiting=1, ordered=True, source_name="read", stopped=stopped
        ) as pipeline,
    ):
        for tile, deflated in pipeline:
            workplace.append(deflated)
            pixels += tile.core.pixels
            if progress is not None:
                progress(pixels, todo_pixels)
    log.info("%s: limited by %s", workplace.target, pipeline.limiting)


def _blocks(picture: LargePicture, strips: Sequence[Strip], done: int) -> Generator[_Part]:
    """The blocks behind those that are done, with their samples."""
    left: list[tuple[Strip, tuple[Block, ...]]] = []
    for strip in strips:
        rest = strip.blocks[done:]
        done = max(0, done - len(strip.blocks))
        if rest:
            left.append((strip, rest))
    with closing(picture.strips([strip.rows for strip, _ in left])) as read:
        for (strip, blocks), rows in zip(left, read, strict=True):
            frame = Box(strip.rows[0], 0, strip.rows[1], picture.width)
            for block in blocks:
                yield _Part(block.tile, picture.turn.image(rows[block.stored.within(frame).slices]))


def _check_room(workplace: Workplace, form: TiledTiff) -> None:
    """Say it beforehand when the disk may be too small."""
    free = shutil.disk_usage(workplace.folder).free + sum(map(sum, workplace.blocks))
    if free < form.raw_bytes:
        log.warning(
            "%s may take up to %.1f GB, and %.1f GB are free there: when the disk is full, it waits to be continued",
            workplace.target, form.raw_bytes / 1e9, free / 1e9,
        )  # fmt: skip


@contextmanager
def _workplace(target: Path) -> Generator[Workplace]:
    """Where the picture is made, and what its end leaves: nothing, or what the same call continues."""
    try:
        workplace = Workplace(target)
    except OSError as error:
        raise RepsrError(f"cannot write {target}: {error.strerror}; choose a writable place with free space") from error
    try:
        yield workplace
    except BaseException as error:
        if workplace.blocks:
            log.warning("%s: what is done lies in %s; run again to go on", target, workplace.folder)
        else:
            workplace.discard()
        if isinstance(error, OSError):
            wanted = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose a writable place"
            raise RepsrError(f"cannot write {target}: {error.strerror or error}; {wanted}, and run again") from error
        if isinstance(error, MemoryError):
            raise RepsrError(f"not enough memory for {target}; free some, and run again") from error
        raise
    finally:
        workplace.close()
