"""ONNX Runtime on the CPU."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.nets.spec import Colour
from repsr_deploy.runtimes.base import Batch, CheckedRuntime
from repsr_deploy.runtimes.prelu import rewrite_is_faster, rewrite_prelu

log = logging.getLogger(__name__)

FATAL = 4  # ONNX Runtime's own log would repeat on stderr what our errors say in one line
PROBE_SHAPES = ((19, 24), (40, 23))
"""(H, W) at which a model that does not state its scale is tried."""
_OUT_OF_MEMORY = ("failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


class OnnxRuntime(CheckedRuntime):
    """A model in ONNX Runtime's CPU provider.

    Args:
        model: an .onnx file, or the content of one.
        threads: threads of one run; None for one per core.

    Raises:
        RuntimeUnavailableError: onnxruntime is not installed.
        ModelFileError: not an ONNX model, or not one from float images N x C x H x W to such images.
    """

    name = "onnxruntime"
    precision = "fp32"

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        label = "the model" if isinstance(model, bytes) else str(model)
        self._session: Any = _open_session(model, label, threads)
        self._input, channels = _only_image(self._session.get_inputs(), "input", label)
        self._output, _ = _only_image(self._session.get_outputs(), "output", label)
        info = ModelInfo.from_props(self._session.get_modelmeta().custom_metadata_map)
        if info is None:
            info = self._derive_info(model, label, "y" if channels == 1 else "rgb")
        elif channels not in (None, 3 if info.colour == "rgb" else 1):
            raise ModelFileError(f"{label} says colour {info.colour!r} but takes {channels} channels; export it again")
        self.info = info

    def _run(self, batch_nchw: Batch) -> Batch:
        try:
            return self._session.run([self._output], {self._input: batch_nchw})[0]
        except Exception as error:  # ONNX Runtime's errors share no base class
            if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                raise MemoryError(f"ONNX Runtime has no memory for a batch of shape {batch_nchw.shape}") from error
            raise ModelFileError(
                f"ONNX Runtime cannot run the model on {batch_nchw.shape}: {_first_line(error)}"
            ) from error

    def _derive_info(self, model: Path | bytes, label: str, colour: Colour) -> ModelInfo:
        """Find out by trying and by walking the graph what a foreign file does not say."""
        from repsr_deploy.runtimes.graph import derive_reach

        scales: set[float] = set()
        for height, width in PROBE_SHAPES:
            shape = self._run(np.full((1, 3 if colour == "rgb" else 1, height, width), 0.5, np.float32)).shape
            scales |= {shape[2] / height, shape[3] / width}
        scale = scales.pop()
        if scales or scale != int(scale) or scale < 1:
            raise ModelFileError(f"{label} does not enlarge by one whole number; expected an upscaling model")
        reach = derive_reach(model, label)
        name = "model" if isinstance(model, bytes) else model.stem
        info = ModelInfo(name=name, scale=int(scale), halo=reach.halo, colour=colour, width=reach.width)
        log.warning(
            "%s says nothing about itself: derived scale %d, halo %d; taking its input as %s",
            *(label, info.scale, info.halo, "RGB in 0..1" if colour == "rgb" else "studio-range BT.601 luma / 255"),
        )
        return info


def _open_session(model: Path | bytes, label: str, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"runtime onnxruntime cannot be used here ({error}); install it with `pip install repsr-deploy[cpu]`"
        ) from error
    if isinstance(model, Path):
        _check_file(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = FATAL
    # waiting threads that spin take the core from whoever decodes, stores or serves beside the network: on two cores
    # tiles took up to twice as long, while not spinning costs 1 to 3 %
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
        faster = rewrite_prelu(content) if rewrite_is_faster() else None
        source = faster or (str(model) if isinstance(model, Path) else model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except RuntimeUnavailableError:
        raise
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelFileError(
            f"{label} is not a complete ONNX model ({_first_line(error)}); "
            "expected an .onnx file, as `repsr-fuse export` writes it"
        ) from error


def _check_file(path: Path) -> None:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFileError(f"{path} {kind}; expected an .onnx file")
    if path.suffix in (".safetensors", ".pth", ".pt", ".ckpt"):
        raise ModelFileError(
            f"{path} is a checkpoint, not an ONNX model; fold and export it first: "
            f"`repsr-fuse export {path} --out {path.with_suffix('.onnx').name}`"
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; expected a readable .onnx file") from error
    if empty:
        raise ModelFileError(f"{path} is empty; expected an .onnx file")


def _only_image(values: list[Any], role: str, label: str) -> tuple[str, int | None]:
    """Name and channel count (None when dynamic) of a model's only input or output."""
    expected = f"expected one float32 image N x C x H x W with 1 or 3 channels and dynamic H and W as {role}"
    if len(values) != 1:
        raise ModelFileError(f"{label} has {len(values)} {role}s; {expected}")
    value = values[0]
    shape: list[int | str | None] = list(value.shape)
    channels = shape[1] if len(shape) == 4 else None
    fixed = len(shape) == 4 and any(isinstance(side, int) for side in shape[2:])
    known = channels if isinstance(channels, int) else None
    if value.type != "tensor(float)" or len(shape) != 4 or fixed or known not in (None, 1, 3):
        raise ModelFileError(f"{label} has {role} {value.name!r}: {value.type} of shape {shape}; {expected}")
    return value.name, known


def _first_line(error: BaseException) -> str:
    """The error's first line, without ONNX Runtime's own code in front."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip().split("\n")[0])[:300].rstrip(".")
