"""The engine against the network in float64: random networks, pictures, buffers and splits, every instruction set."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import skimage.data

from repsr_deploy.weights import find_model
from repsr_kernels.cpu.network import Model, Network, Precision, instruction_sets
from repsr_kernels.errors import RuntimeUnavailableError
from repsr_kernels.fused_network.model import weights_from
from tests.kernels.cpu.exactness import WHOLE, Kind, Split, enclosed, fault, picture, run
from tests.kernels.cpu.random_networks import Case, random_case, random_network, random_planes
from tests.kernels.cpu.reference_network import Layer, PlainNetwork
from tests.kernels.cpu.reference_onnx import onnx_bytes

CHUNK, CHUNKS = 100, 21
NOT_FUSED = ("portable",)
"""Multiplies and adds in two roundings; the sums of all others are equal bit by bit."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_value_is_within_its_bounds(chunk: int) -> None:
    refused = [error for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK) if (error := judged(seed)) is not None]
    assert len(refused) <= 2
    assert all("2^30 steps" in error for error in refused), refused


def judged(seed: int) -> str | None:
    """What the engine refuses a network for: codes whose steps do not fit one another."""
    try:
        judge(seed)
    except RuntimeUnavailableError as error:
        return f"seed {seed}: {error}"
    return None


@pytest.mark.parametrize("name", ["photo-x2", "photo-x4"])
def test_the_bundled_networks_on_a_photograph(name: str) -> None:
    path, image = find_model(name), skimage.data.chelsea()[100:137, 120:173]
    weights = weights_from(path)
    layers = tuple(Layer(kernel_oihw=layer.kernel_oihw, bias=layer.bias, slope=layer.slope) for layer in weights.layers)
    network = PlainNetwork(layers=layers, scale=weights.scale, skip="nearest", io="float", clamps=True)
    case = Case(network, path.read_bytes(), "dense", image, random_planes(np.random.default_rng(0), image))
    for kind in get_args(Kind):
        for precision in ("fp32", "bf16"):
            rng = np.random.default_rng(0)
            judge_precision(f"{name}, {kind}, {precision}", case, Model(case.content), kind, precision, rng)


def test_a_picture_too_wide_for_the_cache() -> None:
    """The engine cuts its columns, and takes more rows than a ring has."""
    rng = np.random.default_rng(0)
    network = replace(random_network(rng, "sparse", depth=4), io="image", clamps=True)
    image = rng.integers(0, 256, (7, 4001, network.colours), np.uint8)
    case = Case(network, onnx_bytes(network), "sparse", image, random_planes(rng, image))
    for precision in ("fp32", "bf16"):
        judge_precision(f"wide, {precision}", case, Model(case.content), "bytes", precision, rng)


def judge(seed: int) -> None:
    """One network in all precisions of this machine; everything follows from the seed."""
    case = random_case(seed, int8=seed % 3 == 2)
    model = Model(case.content)
    check_description(case, model)
    rng = np.random.default_rng([seed, 1])
    kinds: list[Kind] = ["features"] if case.network.io == "features" else ["bytes", "planes", "features"]
    kind = kinds[rng.choice(len(kinds), p=[1.0] if len(kinds) == 1 else [0.5, 0.4, 0.1])]
    precisions: list[Precision] = ["int8"] if case.is_int8 else ["fp32", "bf16"]
    for precision in precisions:
        judge_precision(f"seed {seed}: {case}, {kind}, {precision}", case, model, kind, precision, rng)


def judge_precision(
    what: str, case: Case, model: Model, kind: Kind, precision: Precision, rng: np.random.Generator
) -> None:
    """Every instruction set: within the bounds; bit by bit equal cut into parts, on one of them, and in fp32 on all."""
    able = [name for name, computes in instruction_sets().items() if precision in computes]
    within = enclosed(case.network, case, kind, precision) if able else None
    split_on = able[rng.integers(len(able))] if able else None
    results = {}
    for name in able:
        assert within is not None
        network = Network(model, precision, instruction_set=name)
        assert network.instruction_set == name
        found = results[name] = run(network, picture(case, kind), kind, WHOLE, rng)
        wrong = fault(found, within, kind, scale=case.network.scale, layers=len(case.network.layers))
        assert wrong is None, f"{what} on {name}: {wrong}"
        if precision == "fp32" and name not in NOT_FUSED:
            first = next(other for other in results if other not in NOT_FUSED)
            assert np.array_equal(found, results[first]), f"{what}: {name} and {first} differ"
        if name == split_on:
            check_split(what, case, network, kind, found, rng)


def check_split(
    what: str, case: Case, network: Network, kind: Kind, whole: np.ndarray, rng: np.random.Generator
) -> None:
    """Some rows, in strips, blocks and threads, are those of the whole."""
    height, width, _ = case.image_hwc.shape
    first = int(rng.integers(height)) if rng.random() < 0.5 else 0
    end = int(rng.integers(first + 1, height + 1)) if rng.random() < 0.5 else height
    split = Split(
        rows=(first, end),
        threads=int(rng.integers(1, 5)),
        strip_rows=int(rng.integers(0, height + 2)),
        block_columns=int(rng.integers(0, width + 2)),
    )
    found = run(network, picture(case, kind), kind, split, rng)
    scale = 1 if kind == "features" else case.network.scale
    rows = slice(scale * first, scale * end)
    expected = whole[rows] if kind == "bytes" else whole[:, rows]
    assert np.array_equal(found, expected), f"{what} on {network.instruction_set}: {split} changes it"


def check_description(case: Case, model: Model) -> None:
    """What the engine says of the file."""
    network, told = case.network, model.description
    sizes = [layer.kernel_oihw.shape for layer in network.layers]
    assert (told.colours, told.scale, told.layers) == (network.colours, network.scale, len(network.layers))
    assert told.int8_layers == sum(layer.input is not None for layer in network.layers)
    assert (told.skip, told.io, told.clamps) == (network.skip, network.io, network.clamps)
    assert told.macs_per_pixel == sum(int(np.prod(size)) for size in sizes)
    assert told.channels == max((size[0] for size in sizes[:-1]), default=0)
