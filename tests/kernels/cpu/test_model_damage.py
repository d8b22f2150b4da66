"""Files that are cut off, changed at random, or say what cannot be: refused, without a crash, in bounded memory."""

from __future__ import annotations

import ctypes

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from repsr_kernels.cpu import shared_library
from repsr_kernels.cpu.network import Model, why_unavailable
from repsr_kernels.errors import ModelFileError
from tests.kernels.cpu.model_edits import (
    Edit,
    assert_refused,
    inserted,
    node,
    peak_kb,
    refusal,
    rewired,
    tensor,
    with_attribute,
    with_number,
    with_tensor,
    zeros,
)  # fmt: skip
from tests.kernels.cpu.model_files import SEEDS, plain

if (_why := why_unavailable()) is not None:
    pytest.skip(_why, allow_module_level=True)

MUTATIONS = 20_000
GROWTH_KB = 8_000
"""Memory that the process may take more while so many files are read."""


def status_of(content: bytes) -> int:
    """What `repsr_model_read` returns; the model is freed again."""
    engine, handle = shared_library.library(), ctypes.c_void_p()
    status = int(engine.repsr_model_read(content, len(content), ctypes.byref(handle), None))
    assert bool(handle) == (status == shared_library.OK)
    engine.repsr_model_free(handle)
    return status


@pytest.mark.parametrize("name", SEEDS)
def test_cut_off_at_every_byte(name: str) -> None:
    """What is missing is noticed: only where the cut falls between metadata at the end is a file still whole."""
    model = SEEDS[name]()
    del model.metadata_props[:]
    content = model.SerializeToString()
    assert status_of(content) == shared_library.OK
    for length in range(len(content)):
        assert status_of(content[:length]) == shared_library.BAD_MODEL, length


def test_cut_off_says_where() -> None:
    content = plain().SerializeToString()
    with pytest.raises(
        ModelFileError, match=r"^the model is damaged, cut off or no ONNX file: at byte \d+ it ends within a field"
    ):
        Model(content[: len(content) // 2])


def mutated(random: np.random.Generator, contents: list[bytes]) -> bytes:
    """One of the files, changed in one to four places."""
    content = bytearray(contents[random.integers(len(contents))])
    for _ in range(random.integers(1, 5)):
        if not content:
            break
        at, kind, value = int(random.integers(len(content))), random.integers(6), int(random.integers(256))
        if kind == 0:
            content[at] ^= 1 << value % 8
        elif kind == 1:
            content[at] = value
        elif kind == 2:
            content[at] = (0, 0x7F, 0x80, 0xFF)[value % 4]
        elif kind == 3:
            del content[at : at + value % 16]
        elif kind == 4:
            content[at:at] = content[at : at + value % 16]
        elif value < 32:
            del content[at:]
    return bytes(content)


def test_random_changes() -> None:
    random = np.random.default_rng(11)
    contents = [make().SerializeToString() for make in SEEDS.values()]
    for content in contents:
        status_of(content)
    before, seen = peak_kb(), {shared_library.OK: 0, shared_library.BAD_MODEL: 0, shared_library.NOT_PLAIN: 0}
    for _ in range(MUTATIONS):
        seen[status_of(mutated(random, contents))] += 1
    assert peak_kb() - before < GROWTH_KB
    assert min(seen.values()) > MUTATIONS // 50, seen  # all three ways are taken


def raw(op: str, place: int, content: bytes) -> Edit:
    """The bytes of a tensor."""
    return lambda model: setattr(tensor(model, op, place), "raw_data", content)


def elsewhere(model: onnx.ModelProto) -> None:
    """Weights in another file."""
    target = tensor(model, "Conv", 1)
    target.ClearField("raw_data")
    target.data_location = TensorProto.EXTERNAL
    target.external_data.add(key="location", value="/etc/passwd")


DAMAGED: dict[str, tuple[Edit, str]] = {
    "NaN": (with_number("Conv", 1, np.nan), r"^the model has a tensor 'constant0' with NaN or infinity"),
    "infinite bias": (with_number("Conv", 2, np.inf, 1), r"with NaN or infinity"),
    "infinite slope": (with_number("PRelu", 1, -np.inf), r"with NaN or infinity"),
    "infinite float16": (
        with_tensor("Conv", 2, np.array([1, np.inf], np.float16)),
        r"with NaN or infinity",
    ),
    "short weights": (raw("Conv", 1, b"\0" * 215), r"of shape 2x3x3x3 with 215 bytes"),
    "long weights": (raw("Conv", 1, b"\0" * 220), r"of shape 2x3x3x3 with 220 bytes"),
    "no weights": (lambda m: tensor(m, "Conv", 1).ClearField("raw_data"), r"of shape 2x3x3x3 with 0 numbers"),
    "other file": (
        elsewhere,
        r"^the model has a tensor 'constant0' whose numbers are in another file; expected all in one",
    ),
    "input channels": (
        with_tensor("Conv", 1, zeros(12, 3, 3, 3), 1),
        r"^the model has Conv 'conv1_node' for 3 channels where there are 2",
    ),
    "biases": (with_tensor("Conv", 2, zeros(3)), r"^the model has Conv 'conv0_node' with 3 biases for 2 channels"),
    "negative dimension": (lambda m: tensor(m, "Conv", 1).dims.__setitem__(0, -2), r"of shape -2x3x3x3"),
    "huge dimensions": (
        lambda m: tensor(m, "Conv", 1).dims.__setitem__(slice(None), [2**62, 2**62, 3, 3]),
        r"of shape 4611686018427387904x4611686018427387904\.?",
    ),
    "many dimensions": (lambda m: tensor(m, "Conv", 1).dims.extend([1] * 5), r"has more than 8 dimensions in a tensor"),
    "unknown value": (
        rewired("Conv", 0, "nowhere", 1),
        r"^the model has Conv 'conv1_node', which reads 'nowhere', given by nothing before it",
    ),
    "unknown output": (
        lambda m: setattr(m.graph.output[0], "name", "nowhere"),
        r"gives 'nowhere', which no node makes",
    ),
    "wrong order": (lambda m: m.graph.node.append(m.graph.node.pop(0)), r"given by nothing before it"),
    "circle": (rewired("Conv", 0, "prelu0"), r"given by nothing before it"),
    "value given twice": (lambda m: m.graph.node.append(m.graph.node[0]), r"gives 'conv0' twice"),
    "constant given twice": (
        lambda m: m.graph.initializer.append(m.graph.initializer[0]),
        r"two initializers 'constant0'",
    ),
    "no input": (lambda m: node(m, "Conv").input.__setitem__(0, ""), r"has Conv 'conv0_node' without its input 0"),
    "no weights to read": (
        lambda m: node(m, "Conv").input.__delitem__(slice(1, None)),
        r"has Conv 'conv0_node' without its input 1",
    ),
    "no operator set": (lambda m: m.opset_import.__delitem__(0), r"is of operator set 0, older than 7"),
    "old operator set": (lambda m: setattr(m.opset_import[0], "version", 6), r"is of operator set 6"),
    "no graph": (lambda m: m.ClearField("graph"), r"^the model has no graph"),
    "no axes": (
        inserted("Transpose", "DepthToSpace", perm=[0, 1, 2, 2]),
        r"has Transpose 'new' of 4 axes by perm 0x1x2x2",
    ),
    "channel that is not there": (
        with_tensor("Gather", 1, np.array([3])),
        r"has Gather 'gather0_node' of channels that are not there",
    ),
    "odd blocks": (with_attribute("DepthToSpace", "blocksize", 4), r"spreads 12 channels over 4x4 pixels"),
    "property": (
        lambda m: m.metadata_props.add(key="a\0b", value="c"),
        r"an entry 'a\?b' in metadata_props that is no text",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files(name: str) -> None:
    edit, expected = DAMAGED[name]
    edit(model := plain())
    assert_refused(model, ModelFileError, expected)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\3\4" + bytes(30), b"not a model", bytes(1000), b"\xff" * 64],
)
def test_other_files(content: bytes) -> None:
    text = refusal(content, ModelFileError)
    assert "no ONNX file" in text
