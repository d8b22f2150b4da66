"""Settings that make no sense are refused in one line, wherever they stand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from repsr_deploy.errors import UsageError
from repsr_train.degradations.kernels import KernelConfig
from repsr_train.degradations.process import Process
from repsr_train.degradations.second_order import SecondOrder


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: KernelConfig(sizes=(7, 8)), "sizes"),
        (lambda: KernelConfig(sizes=()), "sizes"),
        (lambda: KernelConfig(sinc=1.1), "sinc"),
        (lambda: KernelConfig(sinc=math.nan), "sinc"),
        (lambda: KernelConfig(bells=(1.0,)), "bells"),
        (lambda: KernelConfig(bells=(0.5, 0.5, 0.1, 0.0, 0.0, 0.0)), "bells"),
        (lambda: KernelConfig(bells=(1.5, -0.5, 0.0, 0.0, 0.0, 0.0)), "bells"),
        (lambda: KernelConfig(sigma=(0.0, 1.0)), "sigma"),
        (lambda: KernelConfig(sigma=(2.0, 1.0)), "sigma"),
        (lambda: KernelConfig(sigma=(1.0, math.inf)), "sigma"),
        (lambda: KernelConfig(generalized_beta=(1.5, 4.0)), "generalized_beta"),
        (lambda: KernelConfig(plateau_beta=(0.0, 2.0)), "plateau_beta"),
        (lambda: Process(blur=-0.1), "blur"),
        (lambda: Process(gaussian=2.0), "gaussian"),
        (lambda: Process(gray=2.0), "gray"),
        (lambda: Process(resize=(0.2, 0.7, 0.2)), "resize"),
        (lambda: Process(factor=(0.2, 0.9)), "factor"),
        (lambda: Process(factor=(0.0, 1.5)), "factor"),
        (lambda: Process(sigma=(-1.0, 5.0)), "sigma"),
        (lambda: Process(poisson=(3.0, 1.0)), "poisson"),
        (lambda: Process(quality=(0, 95)), "quality"),
        (lambda: Process(quality=(30, 101)), "quality"),
        (lambda: SecondOrder(final_sinc=1.5), "final_sinc"),
        (lambda: SecondOrder(jpeg_last=-1.0), "jpeg_last"),
    ],
)
def test_impossible_settings_name_the_field_and_what_was_expected(make: Callable[[], object], named: str) -> None:
    with pytest.raises(UsageError, match=rf"^{named} is .*; expected"):
        make()


def test_a_range_of_one_value_and_certain_probabilities_are_allowed() -> None:
    Process(blur=0, gaussian=1, gray=0, resize=(0, 0, 1), factor=(1, 1), sigma=(0, 0), poisson=(0, 0), quality=(95, 95))
