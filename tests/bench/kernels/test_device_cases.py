"""What a GPU is given to do, and how its memory is laid out: all that needs no GPU."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from repsr_deploy.bench.kernels.device_cases import (
    PREPARATIONS,
    UPSAMPLINGS,
    Upsampling,
    as_float32,
    preparation_operation,
    typed,
    upsampling_operation,
)
from repsr_deploy.bench.kernels.device_clock import launches_for
from repsr_deploy.bench.kernels.device_memory import (
    POISON,
    carry_out,
    mapped,
    memory_of,
    sets_beyond_cache,
    written,
)
from repsr_deploy.bench.kernels.processor import random_features
from repsr_deploy.bench.pictures import photograph_like
from repsr_kernels import cpu
from repsr_kernels.operations import FusedUpsample
from repsr_kernels.tensors import Tensor, on_host


def test_bf16_is_that_of_others() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    bits = typed(values, "bf16")
    assert np.array_equal(bits, values.astype(ml_dtypes.bfloat16).view(np.uint16))
    assert np.array_equal(as_float32(bits, "bf16"), values.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert np.array_equal(typed(as_float32(bits, "bf16"), "bf16"), bits)


@pytest.mark.parametrize("case", UPSAMPLINGS, ids=lambda case: case.data(2))
def test_every_upsampling_writes_all_of_its_target(case: Upsampling) -> None:
    operation = upsampling_operation(case, random_features(6, 10, 2), photograph_like(6, 10), 2)
    assert operation.features.type == case.type
    assert (operation.features.strides[1] == 1) == (case.layout == "nhwc")
    carry_out(operation)
    first = [memory_of(tensor).copy() for tensor in written(operation)]
    for tensor in written(operation):
        memory_of(tensor)[:] = POISON ^ 0xFF
    cpu.run(operation, threads=1)
    for tensor, before in zip(written(operation), first, strict=True):
        assert np.array_equal(memory_of(tensor), before)


def test_cases_have_names_of_their_own() -> None:
    names = [case.data(2) for case in UPSAMPLINGS] + [case.data for case in PREPARATIONS]
    assert len(set(names)) == len(names) == 13
    assert names[0] == "x2, skip nearest, fp16 planes to uint8"
    assert {case.target for case in UPSAMPLINGS} == {"uint8", "planes", "NV12", "P010"}


def test_mapping_reaches_every_tensor() -> None:
    seen: list[Tensor] = []

    def place(tensor: Tensor) -> Tensor:
        seen.append(tensor)
        return replace(tensor, owner="copy")

    video = Upsampling(target="NV12")
    operation = upsampling_operation(video, random_features(4, 6, 2), photograph_like(4, 6), 2)
    copy = mapped(operation, place)
    assert isinstance(copy, FusedUpsample)
    assert len(seen) == 4
    assert {tensor.owner for tensor in written(copy)} == {"copy"}
    assert copy.features.owner == "copy"
    prepared = mapped(preparation_operation(PREPARATIONS[3], photograph_like(4, 6)), place)
    assert {tensor.owner for tensor in written(prepared)} == {"copy"}
    assert len(seen) == 7


def test_memory_holds_what_lies_between_rows() -> None:
    wide = np.arange(4 * 20, dtype=np.uint8).reshape(4, 20)
    rows = on_host(np.lib.stride_tricks.as_strided(wide[:, 3:], (4, 2, 3), (20, 3, 1)), "nhwc")
    assert np.array_equal(memory_of(rows), wide.reshape(-1)[3 : 3 + 3 * 20 + 6])
    memory_of(rows)[0] = 99
    assert wide[0, 3] == 99


@pytest.mark.parametrize(("moved", "cache", "sets"), [(80, 50, 3), (10, 50, 16), (1000, 50, 2), (7, 0, 2)])
def test_nothing_of_a_set_is_in_the_cache_when_it_comes_again(moved: int, cache: int, sets: int) -> None:
    assert sets_beyond_cache(moved, cache) == sets
    assert (sets - 1) * moved >= 3 * cache or cache == 0


@pytest.mark.parametrize(
    ("moved", "sets", "most", "launches"),
    [(81_000_000, 4, 400, 64), (1000, 3, 400, 402), (10**10, 2, 400, 2), (9, 2, 1, 2)],
)
def test_launches_take_turns_evenly(moved: int, sets: int, most: int, launches: int) -> None:
    assert launches_for(moved, sets, most) == launches
    assert launches % sets == 0
