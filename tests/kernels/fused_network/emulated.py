"""The kernel of fused networks on a processor, and random networks and pictures for it."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_size_t, c_uint, sizeof
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsr_kernels.compile.cache import CSRC
from repsr_kernels.compile.host import host_library
from repsr_kernels.fused_network.operation import FusedNetwork, PlacedWeights, params_of
from repsr_kernels.fused_network.plan import Tile, shared_bytes
from repsr_kernels.fused_network.variants import BLOCK, variant_of
from repsr_kernels.fused_network.weights import Layer, NetworkWeights
from repsr_kernels.tensors import on_host

EMULATION = Path(__file__).parents[2] / "simulated_gpu"
FLAGS = ("-O1", "-x", "c++", f"-I{EMULATION}", "-include", "cuda_on_host.h")


class EmulationError(Exception):
    """What the emulation found wrong with a kernel."""


def emulate(operation: FusedNetwork, tile: Tile, *, blocks: int = 2, csrc: Path = CSRC) -> ctypes.CDLL:
    """Run it on memory of the host, with the texts of a folder; the library that did so."""
    weights = operation.network.weights
    constants = [f"-DREPSR_{name.upper()}={value}" for name, value in variant_of(weights, tile).constants]
    library = ctypes.CDLL(str(host_library([csrc / "fused_network.cu"], flags=(*constants, f"-I{csrc}", *FLAGS))))
    library.repsr_emulate_message.restype = c_char_p
    sizes, params = c_uint * 3, params_of(operation, tile)
    status = library.repsr_emulate_fused_network(
        sizes(blocks, 1, 1), sizes(*BLOCK), c_size_t(shared_bytes(weights.body, tile)), byref(params),
        c_size_t(sizeof(params)),
    )  # fmt: skip
    if status:
        raise EmulationError(library.repsr_emulate_message().decode())
    return library


def random_weights(seed: int, *, scale: int, body: int) -> NetworkWeights:
    """A network whose activations stay near 1 and whose pictures are neither black nor white."""
    rng = np.random.default_rng(seed)
    inputs, outputs = [3] + [16] * (body + 1), [16] * (body + 1) + [3 * scale**2]

    def layer(index: int) -> Layer:
        i, o = inputs[index], outputs[index]
        deviation = (2 / (9 * i)) ** 0.5 * (1 if index <= body else 0.3)
        return Layer(
            kernel_oihw=rng.normal(0, deviation, (o, i, 3, 3)).astype(np.float32),
            bias=rng.normal(0, 0.1, o).astype(np.float32),
            slope=rng.uniform(-0.3, 0.6, o).astype(np.float32) if index <= body else None,
        )

    return NetworkWeights(layers=tuple(layer(index) for index in range(body + 2)))


def random_image(seed: int, count: int, height: int, width: int) -> NDArray[np.uint8]:
    """N x H x W x 3."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def changed(folder: Path, old: str, new: str) -> Path:
    """The texts of the kernel, with something else in fused_network.cuh."""
    for path in CSRC.glob("*.cu*"):
        text = path.read_text()
        if path.name == "fused_network.cuh":
            assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
            text = text.replace(old, new)
        (folder / path.name).write_text(text)
    return folder


def emulated(
    weights: NetworkWeights, image_nhwc: NDArray[np.uint8], tile: Tile, *, blocks: int = 2, csrc: Path = CSRC
) -> NDArray[np.uint8]:
    """N x s H x s W x 3."""
    count, height, width, _ = image_nhwc.shape
    out = np.full((count, weights.scale * height, weights.scale * width, 3), 99, np.uint8)
    operation = FusedNetwork(
        network=PlacedWeights.on_host(weights), image=on_host(image_nhwc, "nhwc"), out=on_host(out, "nhwc")
    )
    emulate(operation, tile, blocks=blocks, csrc=csrc)
    return out
