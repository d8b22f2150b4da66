"""Networks of other projects: weights that spandrel recognises, and their way into ONNX.

spandrel derives a network from the names and shapes of its weights. What it cannot do is done here: read nothing but
tensors, load SPAN after its training branches were stripped, and show the branches of those that were not, which
spandrel's networks hide in evaluation mode.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from repsr_deploy.errors import ModelFileError, UsageError
from repsr_deploy.export.trace import Isolated, export_module
from repsr_deploy.state_file import read_state, require_finite

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor
    from spandrel.architectures.SPAN import SPAN

SHOWN_IN_TRAINING_MODE = ("Conv3XC", "PLKConv2d", "RectSparsePLKConv2d")
"""Classes of spandrel that compute the same in both modes: in training mode by their branches (SPAN's Conv3XC), or
without writing into their input (PLKSR's kernels for a part of the channels)."""
NAMED = 8
"""How many keys an error spells out."""

Form = Literal["plain", "branches", "stripped"]


@dataclass(frozen=True, kw_only=True)
class ForeignNetwork:
    """A network of another project, with its weights."""

    module: nn.Module
    """N x C x H x W in 0..1 -> N x C' x sH x sW, unclamped; float32, in evaluation mode."""
    architecture: str
    """spandrel's name for it: `SPAN`."""
    scale: int
    in_channels: int
    out_channels: int
    form: Form
    """`branches`: re-parameterizable, and all branches are there; `stripped`: only what they fold into was kept."""
    multiple_of: int = 1
    """What H and W must be divisible by."""
    minimum: int = 0
    """Smallest H and W."""
    notes: tuple[str, ...] = ()
    """What a user should know: what was chosen, converted or assumed."""


class _StrippedConv3XC(nn.Module):
    """What is left of SPAN's Conv3XC (Wan et al., CVPRW 2024) without its branches: their fold."""

    def __init__(self, eval_conv: nn.Conv2d) -> None:
        super().__init__()
        self.eval_conv = eval_conv

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self.eval_conv(x_nchw)


def load_foreign(path: Path) -> ForeignNetwork:
    """Read weights (.pth, .pt, .ckpt, .safetensors) and recognise their network; nothing in the file is executed.

    Raises:
        ModelFileError: no such file, damaged, more than tensors, weights that are not finite, or of no known network.
        UsageError: spandrel is not installed.
    """
    state = read_state(path)
    require_finite(state.tensors, path)
    tensors = {key: _single(value) for key, value in state.tensors.items()}
    notes = [f"weights: {state.found}"] if state.found else []
    types = {str(value.dtype) for key, value in state.tensors.items() if value.dtype != tensors[key].dtype}
    notes += [f"weights of type {', '.join(sorted(types))} became float32"] if types else []
    network = _recognised(tensors, path)
    network.module.eval().requires_grad_(False)
    return replace(network, notes=(*notes, *network.notes))


def to_onnx(net: ForeignNetwork, path: Path) -> None:
    """Write `net` as ONNX with its branches, float32: `input`, `output`, dynamic N, H and W, opset 18.

    ONNX Runtime runs the file at several sizes first, against the network in evaluation mode, so for SPAN the branches
    are also compared with spandrel's own fold.

    Raises:
        RepsrError: PyTorch cannot export the network, or `path` cannot be written.
        ProofError: ONNX Runtime and PyTorch disagree; no file is written.
    """
    shown = copy.deepcopy(net.module)  # SPAN keeps what a trace computes
    for module in shown.modules():
        if type(module).__name__ in SHOWN_IN_TRAINING_MODE:
            module.training = True  # of this module alone: dropout and the like below it stay as they are
    limits = {"multiple_of": net.multiple_of, "minimum": net.minimum}
    export_module(shown, net.module, net.in_channels, path, **limits)


def _recognised(tensors: dict[str, Tensor], path: Path) -> ForeignNetwork:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision built for another PyTorch
        raise UsageError(
            f"{path} holds a network of another project, which spandrel recognises, but that cannot be imported "
            f"({' '.join(str(error).split())[:200]}); install it: pip install 'repsr-deploy[zoo]'"
        ) from error

    candidate: dict[str, Tensor] | None = tensors
    while candidate is not None:
        try:
            if _is_stripped_span(candidate):
                return _stripped_span(candidate)
            descriptor = ModelLoader().load_from_state_dict(dict(candidate))
        except UnsupportedModelError:
            candidate = _without_common_name(candidate)
            continue
        except Exception as error:  # a loader may stumble in any way over weights that only look like its own
            raise ModelFileError(
                f"{path} looks like a network that spandrel knows, but its weights do not fit "
                f"({' '.join(str(error).split())[:300]}); expected an unchanged checkpoint of that network"
            ) from error
        if not isinstance(descriptor, ImageModelDescriptor):
            raise ModelFileError(f"{path} is {descriptor.architecture.name}, which needs a mask beside the image")
        if descriptor.size_requirements.square:
            raise ModelFileError(f"{path} is {descriptor.architecture.name}, which takes square images only")
        return _described(descriptor)
    keys = ", ".join(f"{key} {'x'.join(map(str, value.shape))}" for key, value in list(tensors.items())[:NAMED])
    raise ModelFileError(
        f"{path} holds a network that spandrel does not know; its first keys of {len(tensors)} are {keys}; "
        "export it to ONNX with the code that trained it, and give that file"
    )


def _described(descriptor: ImageModelDescriptor[nn.Module]) -> ForeignNetwork:
    has_branches = any(type(module).__name__ == "Conv3XC" for module in descriptor.model.modules())
    notes = ("eval_conv is not used: the branches are exported, so that their fold is proved here",)
    return ForeignNetwork(
        module=Isolated(descriptor.model, descriptor._call_fn),  # pyright: ignore[reportPrivateUsage]
        architecture=descriptor.architecture.id,
        scale=descriptor.scale,
        in_channels=descriptor.input_channels,
        out_channels=descriptor.output_channels,
        form="branches" if has_branches else "plain",
        multiple_of=descriptor.size_requirements.multiple_of,
        minimum=descriptor.size_requirements.minimum,
        notes=_assumed(descriptor.model) + (notes if has_branches else ()),
    )


def _is_stripped_span(tensors: dict[str, Tensor]) -> bool:
    needed = {"conv_1.eval_conv.weight", "block_1.c1_r.eval_conv.weight", "conv_cat.weight", "upsampler.0.weight"}
    return needed <= tensors.keys() and not any(".sk." in key for key in tensors)


def _stripped_span(tensors: dict[str, Tensor]) -> ForeignNetwork:
    """SPAN from `eval_conv` alone: 6 blocks, any width, with or without the `no_norm` mark."""
    from spandrel.architectures.SPAN import SPAN
    from spandrel.util import get_scale_and_output_channels

    channels, in_channels = tensors["conv_1.eval_conv.weight"].shape[:2]
    scale, out_channels = get_scale_and_output_channels(tensors["upsampler.0.weight"].shape[0], in_channels)
    network = SPAN(
        num_in_ch=in_channels,
        num_out_ch=out_channels,
        feature_channels=channels,
        upscale=scale,
        norm="no_norm" not in tensors,
    )
    _strip(network)
    mark = {} if network.is_norm else {"no_norm": torch.zeros(1)}  # of any shape in files; only its presence counts
    network.load_state_dict(tensors | mark)
    return ForeignNetwork(
        module=Isolated(network),
        architecture="SPAN",
        scale=scale,
        in_channels=in_channels,
        out_channels=out_channels,
        form="stripped",
        notes=(
            *_assumed(network),
            "already stripped of its training branches: what they folded into is taken as it is",
        ),
    )


def _strip(network: SPAN) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "Conv3XC":
                setattr(parent, name, _StrippedConv3XC(child.eval_conv))  # pyright: ignore[reportArgumentType]


def _assumed(network: nn.Module) -> tuple[str, ...]:
    """What cannot be derived from a network's weights and is taken from its paper's code."""
    if type(network).__name__ == "SPAN" and getattr(network, "is_norm", False):
        return ("mean 0.4488, 0.4371, 0.4040 and range 255 are SPAN's published ones; the file does not say",)
    return ()


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _without_common_name(tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Keys without the first part of their name, if it is the same for all: a trainer's attribute, `generator.`."""
    first = {key.partition(".")[0] for key in tensors}
    if len(first) != 1 or not all("." in key for key in tensors):
        return None
    return {key.partition(".")[2]: value for key, value in tensors.items()}
