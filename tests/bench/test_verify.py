"""The comparison that stands before every speed, and the pictures that it is made on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from repsr_deploy.bench.pictures import photograph_like, photographs_like
from repsr_deploy.bench.verify import LEAST_DB, least_db, loosest, psnr_db, why_wrong
from repsr_deploy.model_info import Precision


@pytest.mark.parametrize("rms", [1e-1, 1e-3, 1e-5])
def test_psnr_of_a_known_error(rms: float) -> None:
    random = np.random.default_rng(0)
    reference = random.random((2, 3, 50, 70), np.float32)
    error = np.where(random.random(reference.shape) < 0.5, -rms, rms).astype(np.float32)
    assert psnr_db(reference + error, reference) == pytest.approx(-20 * math.log10(rms), abs=0.02)


def test_psnr_in_eight_bits() -> None:
    reference = np.full((1, 8, 8, 3), 100, np.uint8)
    assert psnr_db(reference + np.uint8(1), reference) == pytest.approx(48.1308, abs=1e-3)
    assert psnr_db(np.uint8(0) * reference, reference) == pytest.approx(20 * math.log10(2.55), abs=1e-9)


def test_equal_and_broken_outputs() -> None:
    reference = np.random.default_rng(0).random((1, 3, 9, 9), np.float32)
    assert psnr_db(reference.copy(), reference) == math.inf
    for value in (np.nan, np.inf):
        broken = reference.copy()
        broken[0, 1, 2, 3] = value
        assert math.isnan(psnr_db(broken, reference))
        assert why_wrong(psnr_db(broken, reference), "int8") == "output holds NaN or infinity"
    with pytest.raises(ValueError, match="as the reference"):
        psnr_db(reference[..., :-1], reference)
    with pytest.raises(ValueError, match="as the reference"):
        psnr_db(reference.astype(np.float64), reference)


def test_all_of_a_large_output_is_compared() -> None:
    reference = np.zeros((1, 3, 1300, 1100), np.float32)
    wrong = reference.copy()
    wrong[0, 2, -1, -1] = 1.0
    assert psnr_db(wrong, reference) == pytest.approx(10 * math.log10(reference.size))


def test_what_each_precision_must_reach() -> None:
    assert LEAST_DB["fp32"] > LEAST_DB["fp16"] > LEAST_DB["bf16"] > LEAST_DB["int8"]
    assert why_wrong(55.0, "bf16") == ""
    assert "55.0 dB to the fp32 reference; fp16 must have 60" in why_wrong(55.0, "fp16")
    assert loosest("fp16", "fp32") == "fp16"
    assert loosest("fp32", "bf16") == "bf16"
    assert loosest("int8", "bf16") == "int8"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_rounding_is_allowed_for(precision: Precision) -> None:
    """An error that just passes as it is just passes in 8 bits, too: measured on noise around random values."""
    random = np.random.default_rng(0)
    reference = random.random(1_000_000)
    output = reference + 10 ** (-LEAST_DB[precision] / 20) * random.standard_normal(reference.size)
    levels = (np.rint(values * 255).astype(np.int16) for values in (output, reference))
    rounded_db = 10 * math.log10(255**2 / np.square(np.subtract(*levels), dtype=np.float64).mean())
    assert least_db(precision, rounded=True) == pytest.approx(rounded_db, abs=0.6)
    assert least_db(precision) == LEAST_DB[precision]


def test_pictures_have_any_size_and_are_the_same_every_time() -> None:
    for height, width in ((1, 1), (7, 3), (33, 130)):
        picture = photograph_like(height, width)
        assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)
        np.testing.assert_array_equal(picture, photograph_like(height, width))
    batch = photographs_like(3, 20, 31)
    assert batch.shape == (3, 20, 31, 3)
    assert not np.array_equal(batch[0], batch[1])


def test_pictures_have_the_spectrum_of_photographs() -> None:
    """Amplitudes fall with the frequency, between 1/f and 1/f^2; those of white noise do not."""
    gray_hw = photograph_like(256, 256).mean(axis=-1)
    amplitude = np.abs(np.fft.fft2(gray_hw - gray_hw.mean()))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    inside = (frequency > 0.02) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert -2 < slope < -1
    assert 30 < gray_hw.std() < 90
