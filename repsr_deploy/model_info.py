"""What a model file says about itself: the `repsr.` entries of ONNX `metadata_props` (design, section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from repsr_deploy.errors import ModelFileError
from repsr_deploy.nets.spec import Colour

PREFIX = "repsr."
Precision = Literal["fp32", "fp16", "bf16", "int8"]
LONGEST_FIRST: tuple[Precision, ...] = get_args(Precision)
ModelIo = Literal["float", "image", "features"]
Skip = Literal["none", "nearest", "bilinear"]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """Self-description of a model: everything a later stage needs, so that none asks the user again."""

    name: str
    """The network in the papers' naming, `Plain-M4C16`."""
    scale: int
    """Output pixels per input pixel along one side."""
    halo: int | None
    """Receptive-field radius in LR pixels: overlap that makes tiled output equal to untiled output. None where every
    pixel depends on the whole image, so that it cannot be tiled."""
    colour: Colour = "rgb"
    """`rgb`: 3 channels. `y`: 1 channel, studio-range BT.601 luma / 255."""
    range: tuple[float, float] = (0.0, 1.0)
    """Value range of input and output."""
    precision: Precision = "fp32"
    """Type of the convolutions' operands. Layers that `int8` would spoil stay longer: `history` says
    which."""
    width: int = 0
    """Channels of the widest feature map, from which the memory of a tile is estimated; 0 when unknown."""
    io: ModelIo = "float"
    """`float`: float32 N x C x H x W in `range`, output clamped to it. `image`: uint8 N x H x W x 3, in and out.
    `features`: float32, and the output is N x C s s x H x W before skip, PixelShuffle and clamp, left to a kernel."""
    skip: Skip = "none"
    """With io `features`: the enlarged input that is to be added, `nearest` before PixelShuffle (each channel repeated)
    or `bilinear` after it; `none` where nothing is."""
    version: str = ""
    """Version of RepSR Deploy that wrote the file."""
    data_licence: str = ""
    """Licences of the photographs that trained the weights; empty when unknown."""
    proof: dict[str, Any] = field(default_factory=dict[str, Any])
    """Summary of the fold's proof (`repsr_deploy.folding.proof`)."""
    psnr: dict[str, Any] = field(default_factory=dict[str, Any])
    """PSNR table, dB: data set to value; empty when not measured."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What made the weights, oldest first: training run, fold, export."""

    def to_props(self) -> dict[str, str]:
        """Metadata entries: every key prefixed, every value JSON."""
        return {PREFIX + key: json.dumps(value, sort_keys=True) for key, value in asdict(self).items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> ModelInfo | None:
        """Read metadata entries; None when the file carries no `repsr.` entry, so that a caller can derive them.

        Raises:
            ModelFileError: entries are there but unreadable, incomplete, or ask for what this version cannot do.
        """
        known = {item.name for item in fields(cls)}
        found = {key.removeprefix(PREFIX): text for key, text in props.items() if key.startswith(PREFIX)}
        if not found:
            return None
        try:
            values: dict[str, Any] = {key: json.loads(text) for key, text in found.items() if key in known}
            if "range" in values:
                values["range"] = tuple(values["range"])
            info = cls(**values)
        except (TypeError, ValueError) as error:
            raise ModelFileError(f"unreadable model metadata ({error}); export the model again") from error
        for key, choices in (
            ("precision", get_args(Precision)),
            ("io", get_args(ModelIo)),
            ("skip", get_args(Skip)),
            ("colour", get_args(Colour)),
        ):
            if getattr(info, key) not in choices:
                raise ModelFileError(
                    f"model metadata says {key} {getattr(info, key)!r}; this version handles {', '.join(choices)}"
                )
        return info
