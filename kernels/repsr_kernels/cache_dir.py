"""Where things lie that can be made again: built engines, measured choices."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """A folder below the user's cache folder; it need not exist yet.

    `REPSR_CACHE` names the cache folder itself; otherwise it is `repsr-deploy` in `XDG_CACHE_HOME` or in `~/.cache`
    (XDG base directory specification, which ignores paths that are not absolute).
    """
    if own := os.environ.get("REPSR_CACHE"):
        root = Path(own).expanduser().absolute()
    else:
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        root = (given if given.is_absolute() else Path.home() / ".cache") / "repsr-deploy"
    return root.joinpath(*parts)
