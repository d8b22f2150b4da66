"""What an engine is, written beside it as `NAME.engine.json`: an engine itself cannot be asked."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from repsr_deploy._version import __version__
from repsr_deploy.errors import ModelFileError
from repsr_deploy.files import sha256
from repsr_deploy.model_info import PREFIX, ModelInfo
from repsr_deploy.runtimes.tensorrt.options import BuildOptions, Flavour
from repsr_kernels.gpu.driver import Device

FORMAT = 2
"""Of the JSON file; part of the key, so that a change builds engines anew."""
SUFFIXES = (".engine", ".plan")
"""Of files that are engines; anything else is a model to build one from."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that changes an engine. Not in it: the driver, which compiles nothing into one."""

    model_sha256: str
    """Of the model file, with files that hold its weights."""
    info: dict[str, Any]
    """The model's own metadata (`ModelInfo`)."""
    flavour: Flavour
    version: str
    """Of TensorRT, all four numbers: an engine loads in the same version alone."""
    shapes: list[list[int]]
    """Smallest, usual and largest N, H, W."""
    options: dict[str, Any]
    """`BuildOptions` apart from shapes and timing cache."""
    device: dict[str, str] | None
    """Name and compute capability of the GPU that it is built for; None for an engine that runs on many."""
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        model_sha256: str,
        info: ModelInfo,
        flavour: Flavour,
        version: str,
        options: BuildOptions,
        gpu: Device | None,
    ) -> Recipe:
        """For a model, a TensorRT, options, and the GPU of this machine."""
        kept = [item.name for item in fields(options) if item.name not in ("shapes", "timing_cache")]
        chosen = {name: getattr(options, name) for name in kept}
        portable = flavour == "tensorrt-rtx" and options.compute_capabilities != ("current",)
        return cls(
            model_sha256=model_sha256, info=_plain(asdict(info)), flavour=flavour, version=version,
            shapes=[list(astuple(shape)) for shape in options.shapes.all], options=_plain(chosen),
            device=None if portable or gpu is None else asdict(gpu),
        )  # fmt: skip

    @property
    def key(self) -> str:
        """SHA-256 of all of it."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode())


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """A recipe, and what came of it."""

    recipe: Recipe
    plan_sha256: str
    plan_bytes: int
    convolutions: dict[str, int]
    """Type of the operands to number of convolutions."""
    build_s: float
    built_by: str = field(default_factory=lambda: f"repsr-deploy {__version__}")

    @property
    def info(self) -> ModelInfo:
        """What the model says about itself.

        Raises:
            ModelFileError: this version cannot read it.
        """
        info = ModelInfo.from_props({PREFIX + key: json.dumps(value) for key, value in self.recipe.info.items()})
        if info is None:
            raise ModelFileError("the engine's record says nothing about the model; build the engine again")
        return info

    def to_json(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EngineRecord:
        """Read such a file.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        values = json.loads(text)
        return cls(**values | {"recipe": Recipe(**values["recipe"])})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As the file gives them back: a tuple becomes a list."""
    return json.loads(json.dumps(values))


def record_path(engine: Path) -> Path:
    """Where an engine's record lies."""
    return engine.with_name(f"{engine.name}.json")


def device_slug(recipe: Recipe) -> str:
    """For which GPUs, as part of a file name: `rtx-4090-sm89`, `sm86-sm89`, `portable`."""
    if recipe.device is not None:
        name = re.sub(r"^nvidia |geforce ", "", recipe.device["name"].lower())
        return f"{slug(name)}-sm{recipe.device['compute_capability'].replace('.', '')}"
    capabilities: list[str] = recipe.options["compute_capabilities"]
    anywhere = "portable" if recipe.flavour == "tensorrt-rtx" else "unknown-gpu"
    return "-".join(f"sm{item.replace('.', '')}" for item in capabilities) or anywhere


def slug(text: str) -> str:
    """Text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:60] or "model"
