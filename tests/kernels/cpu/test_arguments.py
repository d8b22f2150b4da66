"""Whatever reaches the C functions: refused with a sentence before anything is read or written."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from ctypes import byref, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repsr_deploy
from repsr_kernels.cpu import shared_library
from repsr_kernels.cpu.network import instruction_sets
from repsr_kernels.cpu.shared_library import (
    BAD_ARGUMENT,
    BYTES,
    FEATURES,
    FLOATS,
    NOT_FINITE,
    OK,
    UNSUPPORTED,
    Description,
    Job,
    Message,
    library,
)
from tests.kernels.cpu.programs import make_program, nothing_else, said_by
from tests.kernels.cpu.random_networks import random_case
from tests.kernels.cpu.reference_network import Codes, Layer, PlainNetwork
from tests.kernels.cpu.reference_onnx import onnx_bytes

WEIGHTS = Path(repsr_deploy.__file__).parent / "weights"
FP32, BF16, INT8 = range(3)
HEIGHT, WIDTH = 5, 7
rng = np.random.default_rng(3)
Answer = tuple[int, str]


def answer_of(function: Callable[..., int], *arguments: object) -> Answer:
    message = Message()
    return function(*arguments, byref(message)), str(message)


def read(content: bytes) -> c_void_p:
    model = c_void_p()
    assert answer_of(library().repsr_model_read, content, len(content), byref(model)) == (OK, "")
    return model


@pytest.fixture(scope="module")
def model() -> Iterator[c_void_p]:
    """Three colours, x2."""
    model = read((WEIGHTS / "photo-x2.onnx").read_bytes())
    yield model
    library().repsr_model_free(model)


@pytest.fixture(scope="module")
def network(model: c_void_p) -> Iterator[c_void_p]:
    network = c_void_p()
    assert answer_of(library().repsr_network_make, model, FP32, None, byref(network)) == (OK, "")
    yield network
    library().repsr_network_free(network)


class Buffers:
    """An image and a result with guards around, as bytes or planes."""

    def __init__(self, samples: int = BYTES, out_samples: int | None = None) -> None:
        self.samples, self.out_samples = samples, samples if out_samples is None else out_samples
        size, channels = (1, 3) if samples == BYTES else (4, 1)
        planes = 1 if samples == BYTES else 3
        out_planes, scale = (12, 1) if self.out_samples == FEATURES else (planes, 2)
        self.row, self.out_row = WIDTH * size * channels, WIDTH * scale * size * channels
        self.image = rng.integers(0, 256, 64 + planes * HEIGHT * self.row, np.uint8)
        self.out = np.full(64 + out_planes * HEIGHT * scale * self.out_row, 7, np.uint8)
        if samples == FLOATS:
            self.image.view(np.float32)[:] = rng.random(self.image.size // 4, np.float32)
        self.plane, self.out_plane = HEIGHT * self.row, HEIGHT * scale * self.out_row
        self.image_bytes, self.out_bytes = planes * self.plane, out_planes * self.out_plane

    def job(self, **changes: Any) -> Job:
        numbers: dict[str, Any] = {
            "height": HEIGHT, "width": WIDTH, "first_row": 0, "end_row": HEIGHT,
            "image": self.image.ctypes.data, "image_bytes": self.image_bytes, "image_pitch": self.row,
            "image_plane": self.plane, "out": self.out.ctypes.data, "out_bytes": self.out_bytes,
            "out_pitch": self.out_row, "out_plane": self.out_plane, "image_samples": self.samples,
            "out_samples": self.out_samples, "threads": 2, "strip_rows": 0, "block_columns": 0,
        }  # fmt: skip
        return Job(**(numbers | changes))

    def refusal(self, network: c_void_p, **changes: Any) -> str:
        status, text = answer_of(library().repsr_run, network, byref(self.job(**changes)))
        assert status == BAD_ARGUMENT, (changes, status, text)
        assert (self.out == 7).all()
        return text


def test_a_good_job_first(network: c_void_p) -> None:
    for buffers in (Buffers(), Buffers(FLOATS), Buffers(FLOATS, FEATURES)):
        assert answer_of(library().repsr_run, network, byref(buffers.job())) == (OK, "")
        assert (buffers.out[: buffers.out_bytes] != 7).any()
        assert (buffers.out[buffers.out_bytes :] == 7).all()
        assert library().repsr_run(network, byref(buffers.job()), None) == OK  # nobody listens


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "image: a null pointer"),
        ({"out": None}, "out: a null pointer"),
        ({"height": 0}, "0 pixels high; expected 1 to 16777216"),
        ({"width": 0}, "0 pixels wide"),
        ({"width": -7}, "-7 pixels wide"),
        ({"height": 2**24 + 1}, "16777217 pixels high"),
        ({"width": 2**62}, "4611686018427387904 pixels wide"),
        ({"height": -(2**63)}, "-9223372036854775808 pixels high"),
        ({"first_row": -1}, "rows -1 to 5 of a picture with 5"),
        ({"first_row": 5}, "rows 5 to 5"),
        ({"first_row": 3, "end_row": 2}, "rows 3 to 2"),
        ({"end_row": 6}, "rows 0 to 6"),
        ({"end_row": 2**63 - 1}, "rows 0 to 9223372036854775807"),
        ({"threads": 0}, "0 threads; expected 1 or more"),
        ({"threads": -(2**31)}, "-2147483648 threads"),
        ({"strip_rows": -1}, "strips of -1 rows"),
        ({"block_columns": -1}, "-1 columns"),
        ({"image_samples": 3}, "image_samples 3; expected bytes (0) or floats (1)"),
        ({"image_samples": FEATURES}, "image_samples 2"),
        ({"out_samples": 3}, "out_samples 3"),
        ({"out_samples": -1}, "out_samples -1"),
        ({"image_samples": FLOATS}, "bytes are made only of bytes"),
        ({"image_pitch": 20}, "image: a pitch of 20 bytes; a row has 21"),
        ({"image_pitch": 0}, "image: a pitch of 0 bytes"),
        ({"image_pitch": -21}, "image: a pitch of -21 bytes"),
        ({"image_pitch": -(2**63)}, "image: a pitch of -9223372036854775808 bytes"),
        ({"image_pitch": 22}, "image: a buffer of 105 bytes; these sizes and pitches need 109"),
        ({"image_pitch": 2**62}, "image: a pitch of 4611686018427387904 bytes for 5 rows or planes is beyond every"),
        ({"image_pitch": 2**63 - 1}, "beyond every address"),
        ({"image_bytes": 104}, "image: a buffer of 104 bytes; these sizes and pitches need 105"),
        ({"image_bytes": 0}, "image: a buffer of 0 bytes"),
        ({"out_pitch": 41}, "out: a pitch of 41 bytes; a row has 42"),
        ({"out_pitch": 43}, "out: a buffer of 420 bytes; these sizes and pitches need 429"),
        ({"out_pitch": 2**61}, "beyond every address"),
        ({"out_bytes": 419}, "out: a buffer of 419 bytes"),
        ({"height": 2**24, "width": 2**24, "end_row": 2**24, "image_pitch": 2**40, "image_bytes": 2**63},
         "image: a pitch of 1099511627776 bytes for 16777216"),
        ({"image": 2**64 - 64}, "image: a buffer beyond every address"),
        ({"out": 2**64 - 419}, "out: a buffer beyond every address"),
    ],
)  # fmt: skip
def test_jobs_of_bytes_that_are_refused(changes: dict[str, Any], message: str, network: c_void_p) -> None:
    assert message in Buffers().refusal(network, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out_samples": BYTES}, "bytes are made only of bytes; floats give floats or features"),
        ({"image_pitch": 30}, "image: a pitch that is no multiple of 4 bytes"),
        ({"image_plane": 141}, "image: a pitch that is no multiple of 4 bytes"),
        ({"out_plane": 561}, "out: a pitch that is no multiple of 4 bytes"),
        ({"image_pitch": 24}, "image: a pitch of 24 bytes; a row has 28"),
        ({"image_plane": 136}, "image: planes 136 bytes apart overlap; one has 140"),
        ({"image_plane": 0}, "image: planes 0 bytes apart; a row has 28"),
        ({"image_plane": -140}, "image: planes -140 bytes apart; a row has 28"),
        ({"image_plane": 2**62}, "image: a pitch of 4611686018427387904 bytes for 3 rows or planes is beyond every"),
        ({"image_plane": 144}, "image: a buffer of 420 bytes; these sizes and pitches need 428"),
        ({"image_plane": 28, "image_pitch": 80}, "image: planes 28 bytes apart overlap"),
        ({"out_plane": 556}, "out: planes 556 bytes apart overlap"),
        ({"out_plane": 564}, "out: a buffer of 1680 bytes; these sizes and pitches need 1688"),
        ({"out_bytes": 1679}, "out: a buffer of 1679 bytes"),
    ],
)
def test_jobs_of_floats_that_are_refused(changes: dict[str, Any], message: str, network: c_void_p) -> None:
    assert message in Buffers(FLOATS).refusal(network, **changes)


def test_floats_must_be_aligned(network: c_void_p) -> None:
    for samples, out_samples in ((FLOATS, FLOATS), (FLOATS, FEATURES)):
        buffers = Buffers(samples, out_samples)
        for offset in (1, 2, 3):
            aside = {"image": buffers.image.ctypes.data + offset}
            assert "image: floats that are not aligned to 4 bytes" in buffers.refusal(network, **aside)
            aside = {"out": buffers.out.ctypes.data + offset}
            assert "out: floats that are not aligned to 4 bytes" in buffers.refusal(network, **aside)


def test_rows_of_planes_are_no_overlap(network: c_void_p) -> None:
    """Planes whose rows lie in turns, as numpy's H x C x W."""
    buffers, expected = Buffers(FLOATS), Buffers(FLOATS)
    image = rng.random((3, HEIGHT, WIDTH), np.float32)
    expected.image[: expected.image_bytes] = image.reshape(-1).view(np.uint8)
    buffers.image[: buffers.image_bytes] = image.transpose(1, 0, 2).copy().reshape(-1).view(np.uint8)
    turns = {"image_plane": WIDTH * 4, "image_pitch": 3 * WIDTH * 4, "out_plane": WIDTH * 8, "out_pitch": WIDTH * 24}
    assert answer_of(library().repsr_run, network, byref(buffers.job(**turns))) == (OK, "")
    assert answer_of(library().repsr_run, network, byref(expected.job())) == (OK, "")
    found, right = (each.out[: each.out_bytes].view(np.float32) for each in (buffers, expected))
    assert np.array_equal(found.reshape(2 * HEIGHT, 3, -1).transpose(1, 0, 2), right.reshape(3, 2 * HEIGHT, -1))


def test_steps_that_lead_nowhere_may_be_anything(network: c_void_p) -> None:
    """Of one row the pitch, of bytes the plane."""
    buffers, expected = Buffers(), Buffers()
    buffers.image[:] = expected.image
    one = {"height": 1, "end_row": 1}
    assert answer_of(library().repsr_run, network, byref(expected.job(**one))) == (OK, "")
    nowhere = {"image_pitch": -(2**63), "image_plane": 2**63 - 1, "out_plane": -5}
    assert answer_of(library().repsr_run, network, byref(buffers.job(**one, **nowhere))) == (OK, "")
    assert np.array_equal(buffers.out, expected.out)


@pytest.mark.parametrize("offset", [-419, -1, 0, 1, 104])
def test_image_and_out_must_not_overlap(offset: int, network: c_void_p) -> None:
    """In any byte; beside one another they may lie."""
    memory = np.full(2000, 7, np.uint8)
    buffers = Buffers()
    image = memory.ctypes.data + 700
    places = {"image": image, "out": image + offset}
    assert buffers.refusal(network, **places) == "image and out overlap"
    assert (memory == 7).all()
    for beside in (-420, 105):
        places["out"] = image + beside
        assert answer_of(library().repsr_run, network, byref(buffers.job(**places))) == (OK, "")


def test_nulls(model: c_void_p, network: c_void_p) -> None:
    engine, content = library(), (WEIGHTS / "photo-x2.onnx").read_bytes()
    made = c_void_p(1234)
    job = Buffers().job()
    for status, text in (
        answer_of(engine.repsr_run, None, byref(job)),
        answer_of(engine.repsr_run, network, None),
        answer_of(engine.repsr_model_read, None, 5, byref(made)),
        answer_of(engine.repsr_model_read, content, len(content), None),
        answer_of(engine.repsr_network_make, None, FP32, None, byref(made)),
        answer_of(engine.repsr_network_make, model, FP32, None, None),
    ):
        assert status == BAD_ARGUMENT
        assert "null pointer" in text
    assert made.value is None
    engine.repsr_model_free(None)
    engine.repsr_network_free(None)
    told = Description(colours=77)
    engine.repsr_model_describe(None, byref(told))
    engine.repsr_model_describe(model, None)
    assert told.colours == 77
    assert engine.repsr_network_instruction_set(None) is None
    assert engine.repsr_model_property_key(None, 0) is None
    assert engine.repsr_precisions(None) == 0


@pytest.mark.parametrize("index", [-1, 10_000, 2**31 - 1, -(2**31)])
def test_indices_beyond_the_ends(index: int, model: c_void_p) -> None:
    engine = library()
    assert engine.repsr_model_property_key(model, index) is None
    assert engine.repsr_model_property_value(model, index) is None
    assert engine.repsr_instruction_set(index) is None


def made_of(model: c_void_p, precision: int, name: bytes | None) -> Answer:
    network = c_void_p()
    answer = answer_of(library().repsr_network_make, model, precision, name, byref(network))
    assert (network.value is not None) == (answer[0] == OK)
    library().repsr_network_free(network)
    return answer


def test_instruction_sets_that_are_none(model: c_void_p) -> None:
    for name in (b"", b"AVX2", b"avx2 ", b"x" * 100_000, b"\xff\xfe"):
        status, text = made_of(model, FP32, name)
        assert status == BAD_ARGUMENT
        assert text.startswith("this library has the instruction sets portable")
    elsewhere = b"neon" if platform.machine() == "x86_64" else b"avx2"
    assert made_of(model, FP32, elsewhere) == (
        UNSUPPORTED, f"this library was built without the instruction set {elsewhere.decode()}",
    )  # fmt: skip
    assert library().repsr_precisions(elsewhere) == 0
    assert library().repsr_peak(elsewhere, FP32, 1, 0.01) == 0


def test_precisions_that_are_none(model: c_void_p) -> None:
    assert made_of(model, 3, None) == (BAD_ARGUMENT, "precision 3 does not exist; expected 0, 1 or 2")
    status, text = made_of(model, INT8, None)
    assert status == UNSUPPORTED
    assert "this model has no codes of 8 bits" in text
    status, text = made_of(model, BF16, b"portable")
    assert (status, text) == (UNSUPPORTED, "the instruction set portable does not compute in bf16")
    coded = read(random_case(5, int8=True).content)
    for precision in (FP32, BF16):
        status, text = made_of(coded, precision, None)
        assert status == UNSUPPORTED
        assert "its precision is int8" in text or "no instruction set" in text
    library().repsr_model_free(coded)


def in_codes(codes: Codes, weight_step: float) -> Layer:
    kernel = np.full((3, 3, 3, 3), 127, np.int8)
    steps = np.full(3, weight_step, np.float32)
    return Layer(kernel_oihw=kernel, bias=np.zeros(3, np.float32), slope=None, input=codes, steps=steps)


@pytest.mark.parametrize(
    ("first_step", "weight_step", "second_step", "message"),
    [
        (1 / 255, 1e-3, 1 / 255, ""),
        (1e-12, 1e-3, 1 / 255, "the first layer's step is below 2^-30"),
        (1 / 255, 1e3, 1e-6, "beyond 2^30 steps of the next layer's codes"),
        (1.0, 1e30, 1e-30, "beyond single precision"),
    ],
)
def test_steps_that_do_not_fit(first_step: float, weight_step: float, second_step: float, message: str) -> None:
    """Codes that would leave 32 bits are refused: no kernel need look for them."""
    first, second = (Codes(step=np.float32(step), zero=0, low=-128, high=127) for step in (first_step, second_step))
    layers = (in_codes(first, weight_step), in_codes(second, 1e-3))
    plain = read(onnx_bytes(PlainNetwork(layers=layers, scale=1, skip="none", io="float", clamps=False)))
    status, text = made_of(plain, INT8, None)
    library().repsr_model_free(plain)
    assert (status, bool(text)) == ((UNSUPPORTED, True) if message else (OK, False))
    assert message in text


def test_an_instruction_set_that_this_processor_has_not() -> None:
    """On an emulated one without AVX."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or platform.machine() != "x86_64":
        pytest.skip("qemu-x86_64 is not installed")
    refused = make_program("driver_refused", nothing_else, link=["-ldl"])
    said = subprocess.run(
        [emulator, "-cpu", "Nehalem", str(refused), library()._name, str(WEIGHTS / "photo-x2.onnx"), "avx2"],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout.splitlines()  # fmt: skip
    assert said == ["portable 5", "avx2 0", "4 this processor has not the instruction set avx2", "0 portable"]


def test_the_peak_of_nothing() -> None:
    engine = library()
    assert engine.repsr_peak(None, FP32, 1, 0.01) == 0
    assert engine.repsr_peak(b"portable", BF16, 1, 0.01) == 0
    assert engine.repsr_peak(b"portable", 3, 1, 0.01) == 0
    assert engine.repsr_peak(b"portable", FP32, 0, 0.01) == 0
    for seconds in (0.0, -1.0, float("nan")):
        assert engine.repsr_peak(b"portable", FP32, 1, seconds) == 0


def test_the_peak_of_wider_vectors_is_higher() -> None:
    """Every instruction computes what it is said to: no vector of 16 is as slow as one of 4 in plain C++."""
    engine, names = library(), list(instruction_sets())
    rates = [engine.repsr_peak(name.encode(), FP32, 1, 0.03) for name in names]
    assert min(rates) > 1e7
    assert len(names) == 1 or max(rates[1:]) > 1.5 * rates[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_pictures_that_are_not_finite(value: float, network: c_void_p) -> None:
    for out_samples in (FLOATS, FEATURES):
        buffers = Buffers(FLOATS, out_samples)
        buffers.image.view(np.float32)[11] = value
        status, text = answer_of(library().repsr_run, network, byref(buffers.job()))
        assert (status, text) == (NOT_FINITE, "the picture holds NaN or infinity, or numbers that large")


@pytest.mark.parametrize("count", range(4))
def test_long_messages_are_cut_between_characters(count: int, model: c_void_p) -> None:
    message, name = Message(), "x" * count + "\N{SNOWMAN}" * 700
    library().repsr_network_make(model, FP32, name.encode(), byref(c_void_p()), byref(message))
    assert 508 < len(message.text) < 512
    assert message.text.decode().endswith("\N{SNOWMAN}")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff\xfe", "??"),
        ("é€😀".encode(), "é€😀"),
        (b"\xc3", "?"),  # cut off
        (b"\xe2\x82x", "??x"),
        (b"\xc0\xaf", "??"),  # longer than needed
        (b"\xe0\x80\xaf", "???"),
        (b"\xf0\x80\x80\xaf", "????"),
        (b"\xed\xa0\x80", "???"),  # a surrogate
        (b"\xf4\x90\x80\x80", "????"),  # beyond Unicode
        (b"\x80", "?"),
    ],
)
def test_messages_are_utf_8(name: bytes, shown: str, model: c_void_p) -> None:
    message = Message()
    library().repsr_network_make(model, FP32, name, byref(c_void_p()), byref(message))
    assert message.text.decode().endswith(f"none is called '{shown}'")


def test_memory_that_runs_out_everywhere() -> None:
    """Every allocation fails in turn: the status says so, nothing is lost, and the same network goes on."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        pytest.skip("replaces allocation functions of glibc")
    memory = make_program("driver_memory", nothing_else, link=["-ldl", "-rdynamic"])
    failed = said_by(memory, library()._name, str(WEIGHTS / "photo-x2.onnx"))
    assert int(failed) > 100
    assert shared_library.OUT_OF_MEMORY == 5
