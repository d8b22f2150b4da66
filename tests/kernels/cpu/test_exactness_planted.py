"""The judge itself: of an engine that is right, a network altered in one place must be called wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from repsr_kernels.cpu.network import Model, Network, Precision, precisions
from tests.kernels.cpu import reference_network
from tests.kernels.cpu.exactness import Placed, enclosed, fault, picture, run
from tests.kernels.cpu.random_networks import Case, random_layer, random_planes
from tests.kernels.cpu.reference_network import Array, Codes, Layer, PlainNetwork, Skip, convolved
from tests.kernels.cpu.reference_onnx import onnx_bytes

CASES = 6
Alter = Callable[[np.random.Generator, Layer], Layer]


def _wrong_tap(rng: np.random.Generator, layer: Layer) -> Layer:
    """Two neighbouring taps of a channel of every output change places."""
    kernel, row = layer.kernel_oihw.copy(), rng.integers(3)
    kernel[:, :, row, [0, 1]] = kernel[:, :, row, [1, 0]]
    return replace(layer, kernel_oihw=kernel)


def _wrong_channel(rng: np.random.Generator, layer: Layer) -> Layer:
    """Two outputs change places."""
    order = np.roll(np.arange(len(layer.bias)), int(rng.integers(1, len(layer.bias))))
    return replace(layer, kernel_oihw=layer.kernel_oihw[order])


def _no_bias(rng: np.random.Generator, layer: Layer) -> Layer:
    bias = layer.bias.copy()
    bias[rng.choice(np.flatnonzero(np.abs(bias) > 0.05))] = 0
    return replace(layer, bias=bias)


def _no_slope(rng: np.random.Generator, layer: Layer) -> Layer:
    del rng
    return replace(layer, slope=None)


ALTERED: dict[str, tuple[Alter, int]] = {
    "tap": (_wrong_tap, 3),
    "channel": (_wrong_channel, 3),
    "bias": (_no_bias, 3),
    "slope": (_no_slope, 2),
}
"""What is altered, and in how many layers from the first on it can be."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")


@cache
def _cases(precision: Precision) -> tuple[Case, ...]:
    """Of two layers and a last one, with slopes, a skip and codes that are not cut off."""
    return tuple(_case(np.random.default_rng(seed), precision) for seed in range(CASES))


def _case(rng: np.random.Generator, precision: Precision) -> Case:
    colours, scale = int(rng.choice([1, 3])), int(rng.integers(2, 5))
    counts = (colours, 8, 11, colours * scale**2)
    layers = [
        random_layer(rng, inputs, outputs, "dense", is_last=index == 2)
        for index, (inputs, outputs) in enumerate(pairwise(counts))
    ]
    layers[:2] = [
        replace(layer, slope=rng.uniform(-0.4, 0.4, len(layer.bias)).astype(np.float32)) for layer in layers[:2]
    ]
    skip: Skip = rng.choice(["nearest", "bilinear"])
    network = PlainNetwork(layers=tuple(layers), scale=scale, skip=skip, io="float", clamps=False)
    image = rng.integers(0, 256, (int(rng.integers(8, 14)), int(rng.integers(9, 40)), colours), np.uint8)
    if precision == "int8":
        network = _in_codes(network, image)
    return Case(network, onnx_bytes(network), "dense", image, random_planes(rng, image))


def _in_codes(network: PlainNetwork, image_hwc: NDArray[np.uint8]) -> PlainNetwork:
    """All but the first layer, by steps that fit, as uint8 with a zero of 128."""
    value, layers = image_hwc.transpose(2, 0, 1) / 255.0, list[Layer]()
    for layer in network.layers:
        steps = np.abs(layer.kernel_oihw).max(axis=(1, 2, 3)) / np.float32(127)
        codes = np.rint(layer.kernel_oihw / steps[:, None, None, None]).astype(np.int8)
        step = np.float32(np.abs(value).max() / 127)
        of_codes = replace(layer, kernel_oihw=codes, steps=steps, input=Codes(step=step, zero=128, low=0, high=255))
        layers.append(of_codes if layers else layer)
        value = convolved(layers[-1], value)
    return replace(network, layers=tuple(layers))


def _judged(case: Case, network: PlainNetwork, found: NDArray[np.float32], precision: Precision) -> str | None:
    within = enclosed(network, case, "features", precision)
    return fault(found, within, "features", scale=network.scale, layers=len(network.layers))


def _found(case: Case, precision: Precision) -> NDArray[np.float32]:
    return run(Network(Model(case.content), precision), picture(case, "features"), "features")


@pytest.fixture(params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> Precision:
    """Each that this machine computes in."""
    if request.param not in precisions():
        pytest.skip(f"no instruction set of this machine computes in {request.param}")
    return request.param


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_layer_is_noticed(name: str, precision: Precision) -> None:
    alter, places = ALTERED[name]
    for index, case in enumerate(_cases(precision)):
        rng, layers = np.random.default_rng(index), list(case.network.layers)
        found = _found(case, precision)
        assert _judged(case, case.network, found, precision) is None
        at = int(rng.integers(places))
        layers[at] = alter(rng, layers[at])
        wrong = _judged(case, replace(case.network, layers=tuple(layers)), found, precision)
        assert wrong is not None, f"{case}: {name} of layer {at}"


def test_a_border_that_is_repeated_is_noticed_and_named(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    def repeated(image: Array) -> Array:
        return np.pad(image, ((0, 0), (1, 1), (1, 1)), mode="edge")

    results = [(case, _found(case, precision)) for case in _cases(precision)]
    monkeypatch.setattr(reference_network, "_padded", repeated)
    for case, found in results:
        wrong = _judged(case, case.network, found, precision)
        assert wrong is not None
        assert wrong.startswith("border: ")
        assert "interior: all well" in wrong


def test_a_zero_of_codes_that_is_off_by_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    if "int8" not in precisions():
        pytest.skip("no instruction set of this machine computes in int8")
    results = [(case, _found(case, "int8")) for case in _cases("int8")]
    rounded = Codes.round
    monkeypatch.setattr(Codes, "round", lambda codes, values: rounded(codes, values) + 1)  # pyright: ignore
    for case, found in results:
        assert _judged(case, case.network, found, "int8") is not None, str(case)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_skip_that_is_shifted_is_noticed(axis: int, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    enlarged = reference_network._enlarged  # pyright: ignore[reportPrivateUsage]

    def shifted(image: Array, scale: int, skip: Skip) -> tuple[Array, Array]:
        value, error = enlarged(image, scale, skip)
        return np.roll(value, 1, axis), error

    results = [
        (case, run(Network(Model(case.content), precision), picture(case, "planes"), "planes"))
        for case in _cases(precision)
    ]
    for plant in (False, True):
        if plant:
            monkeypatch.setattr(reference_network, "_enlarged", shifted)
        for case, found in results:
            within = enclosed(case.network, case, "planes", precision)
            wrong = fault(found, within, "planes", scale=case.network.scale, layers=3)
            assert (wrong is not None) == plant


def test_a_value_beyond_the_result_is_noticed() -> None:
    placed = Placed(np.random.default_rng(3), (5, 7, 3), np.uint8)
    placed.view[...] = 0
    placed.check_guards()
    rows = np.lib.stride_tricks.as_strided(placed.view, (5, 8, 3))
    rows[4, 7] = 0
    with pytest.raises(AssertionError, match="outside"):
        placed.check_guards()
