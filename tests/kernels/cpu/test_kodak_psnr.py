"""What bf16 and int8 cost on photographs with the bundled networks: PSNR on luma against the engine's own fp32.

Kodak where it lies beside the repository, else scikit-image's photographs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from repsr_deploy.export.int8 import images
from repsr_deploy.export.int8.convert import to_int8
from repsr_deploy.export.pictures import Pictures, photographs
from repsr_deploy.folding.graph.read import read_graph
from repsr_deploy.metrics.evaluate import score
from repsr_deploy.model_info import ModelInfo
from repsr_deploy.weights import find_model
from repsr_kernels.cpu.network import Model, Network, Precision, precisions
from tests.conftest import SHARED_DATA
from tests.kernels.cpu.exactness import run

SCALES = {"photo-x2": 2, "photo-x4": 4}
MOST_CHANGE_DB: dict[Precision, float] = {"bf16": 0.01, "int8": 0.1}
KODAK = sorted((SHARED_DATA / "val" / "kodak24").glob("*.webp"))[::2]


def _quiet(_: str) -> None:
    """Says nothing."""


def _file(name: str, precision: Precision) -> bytes:
    """Of int8 as `repsr-fuse export --precision int8` makes it, calibrated on parts of scikit-image's photographs."""
    path = find_model(name)
    if precision != "int8":
        return path.read_bytes()
    graph = read_graph(path)
    info = ModelInfo.from_props(graph.metadata_props)
    assert info is not None
    parts = images.cropped(photographs((), SCALES[name]), 8, 144)
    return ir.to_proto(to_int8(graph, info, parts, say=_quiet).model).SerializeToString()


def _psnr_y(network: Network, pictures: Pictures) -> float:
    def upscaled(image_hwc: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return run(network, image_hwc, "bytes")

    scale = network.description.scale
    scored = [
        score(upscaled, scale, picture_hwc, metrics=("psnr_y",), bicubic=False).model.psnr_y
        for picture_hwc in pictures.values()
    ]
    return float(np.mean([value for value in scored if value is not None]))


@pytest.mark.parametrize("name", SCALES)
def test_psnr_in_short_precisions(name: str) -> None:
    pictures = photographs(KODAK, SCALES[name])
    float_model = Model(_file(name, "fp32"))
    expected = _psnr_y(Network(float_model, "fp32"), pictures)
    assert expected > 25
    for precision, most in MOST_CHANGE_DB.items():
        if precision not in precisions():
            continue
        model = Model(_file(name, precision)) if precision == "int8" else float_model
        change = _psnr_y(Network(model, precision), pictures) - expected
        assert abs(change) <= most, f"{name} in {precision} changes PSNR-Y by {change:.4f} dB from {expected:.3f}"
        assert change != 0
