"""ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from repsr_deploy.errors import ModelFileError, RuntimeUnavailableError
from repsr_deploy.model_info import ModelInfo, Precision
from repsr_deploy.runtimes.base import CheckedRuntime, checked_precision
from repsr_deploy.runtimes.foreign import derive_info
from repsr_deploy.runtimes.ports import Port, check_ports
from repsr_deploy.runtimes.prelu import rewrite_is_faster, rewrite_prelu
from repsr_deploy.runtimes.source import Source, check_file, label_of, stated_info

FATAL = 4  # ONNX Runtime's own log would repeat on stderr what our errors say in one line
DTYPES: dict[str, str] = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
_OUT_OF_MEMORY = ("failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


def why_unavailable() -> str | None:
    """Why ONNX Runtime cannot be used here, and the way out; None where it can."""
    try:
        import_module("onnxruntime")
    except ImportError as error:
        return f"runtime onnxruntime cannot be used here ({error}); install it with `pip install repsr-deploy[cpu]`"
    return None


def precisions(info: ModelInfo) -> tuple[Precision, ...]:
    """In which the CPU provider computes a model.

    One of fp16 becomes fp32 through casts: its convolutions know no other type, and what lies between them is not
    rounded. bf16 has no convolution at all.
    """
    match info.precision:
        case "fp32" | "fp16":
            return ("fp32",)
        case "int8":
            return ("int8",)
        case "bf16":
            return ()


class OnnxRuntime(CheckedRuntime):
    """A model in ONNX Runtime's CPU provider.

    Args:
        model: an .onnx file, or the content of one.
        threads: threads of one run; None for one per core.
        precision: to compute in; None for the one that `precisions` offers.

    Raises:
        RuntimeUnavailableError: onnxruntime is not installed, or does not compute this model, or not so.
        ModelFileError: not an ONNX model, or not one from images N x C x H x W to such images.
    """

    name = "onnxruntime"

    def __init__(self, model: Source, threads: int | None = None, precision: Precision | None = None) -> None:
        label = label_of(model)
        check_file(model)
        self._session: Any = self._open(model, label, threads)
        info = ModelInfo.from_props(self._session.get_modelmeta().custom_metadata_map)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        colour, self.limits = check_ports(_ports(inputs), _ports(outputs), info, label)
        self._input, self._output = inputs[0].name, outputs[0].name
        self.info = info or derive_info(model, colour, self._run)
        self.precision = checked_precision(self.name, self.info, self._precisions(self.info), precision)

    def _precisions(self, info: ModelInfo) -> tuple[Precision, ...]:
        return precisions(info)

    def _open(self, model: Source, label: str, threads: int | None) -> Any:
        """A session on a file that is there."""
        onnxruntime = import_onnxruntime()
        options = session_options(onnxruntime, threads)
        # waiting threads that spin take the core from whoever decodes, stores or serves beside the network: on two
        # cores tiles took up to twice as long, while not spinning costs 1 to 3 %
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = model.read_bytes() if isinstance(model, Path) else model
        info = stated_or_none(content)
        if info is not None and info.precision == "int8":
            # its int8 kernels want uint8 inputs, and an int8 output right after the convolution, where PReLU stands:
            # the same rounding with convolutions in float takes 0.7 times as long (photo-x2)
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            faster = rewrite_prelu(content) if rewrite_is_faster() else None
            source = faster or (str(model) if isinstance(model, Path) else model)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except RuntimeUnavailableError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base class
            if info is not None:
                checked_precision(self.name, info, self._precisions(info), None)
            raise not_a_model(label, error) from error

    def _run(self, batch: Any) -> Any:
        try:
            return self._infer(batch)
        except Exception as error:  # ONNX Runtime's errors share no base class
            if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                raise MemoryError(f"ONNX Runtime has no memory for a batch of shape {batch.shape}") from error
            raise ModelFileError(f"ONNX Runtime cannot run the model on {batch.shape}: {first_line(error)}") from error

    def _infer(self, batch: Any) -> Any:
        return self._session.run([self._output], {self._input: batch})[0]


def import_onnxruntime() -> Any:
    """The module.

    Raises:
        RuntimeUnavailableError: it is not installed.
    """
    reason = why_unavailable()
    if reason is not None:
        raise RuntimeUnavailableError(reason)
    import onnxruntime

    return onnxruntime


def session_options(onnxruntime: Any, threads: int | None) -> Any:
    """Options of every session, whatever runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = FATAL
    return options


def not_a_model(label: str, error: BaseException) -> ModelFileError:
    """What to say when a session cannot be made of a file."""
    return ModelFileError(
        f"{label} is not a complete ONNX model ({first_line(error)}); "
        "expected an .onnx file, as `repsr-fuse export` writes it"
    )


def first_line(error: BaseException) -> str:
    """The error's first line, without ONNX Runtime's own code in front."""
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip().split("\n")[0])[:300].rstrip(".")


def stated_or_none(model: Source) -> ModelInfo | None:
    """What a file says about itself if it can be read at all."""
    with contextlib.suppress(Exception):  # whatever is wrong with it, the session has already said so
        return stated_info(model)
    return None


def _ports(values: list[Any]) -> list[Port]:
    return [_port(value.name, value.type, value.shape) for value in values]


def _port(name: str, kind: str, shape: list[int | str | None]) -> Port:
    return Port(name, DTYPES.get(kind, kind), tuple(side if isinstance(side, int) else None for side in shape))
