"""Checkpoints: what is saved comes back, and what is no checkpoint is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repsr_deploy.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint, save_tensors
from repsr_deploy.errors import ModelFileError, RepsrError
from tests.nets.networks import FAMILIES, randomized, spec_of


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    net = randomized(spec_of(family, scale=3, colour="y")).to(dtype)  # type: ignore[arg-type]
    info = CheckpointInfo(spec=net.spec, history=[{"stage": "train", "step": 7}], data_licence="CC0", psnr={"a": 31.5})
    save_checkpoint(tmp_path / "net.safetensors", net, info)
    loaded, loaded_info = load_checkpoint(tmp_path / "net.safetensors")
    assert loaded_info == info
    assert not loaded.training
    assert net.state_dict().keys() == loaded.state_dict().keys()
    for key, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
        assert value.dtype == loaded.state_dict()[key].dtype
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(ModelFileError, match=r"no file .*net\.safetensors"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_checkpoint(path)
    save_tensors(path, {"weight": torch.zeros(3)}, {})
    with pytest.raises(ModelFileError, match="its format is None, expected 'repsr-checkpoint-1'"):
        load_checkpoint(path)
    net = randomized(spec_of("repsr"))
    save_checkpoint(path, net, CheckpointInfo(spec=net.spec))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize("damage", ["missing", "shape", "unknown", "spec"])
def test_weights_that_do_not_fit_are_refused(damage: str, tmp_path: Path) -> None:
    net = randomized(spec_of("repsr"))
    tensors = net.state_dict()
    metadata = CheckpointInfo(spec=net.spec).to_metadata()
    if damage == "missing":
        del tensors["tail.bias"]
    elif damage == "shape":
        tensors["tail.bias"] = torch.zeros(5)
    elif damage == "unknown":
        tensors["extra"] = torch.zeros(5)
    else:
        metadata["spec"] = "{}"
    save_tensors(tmp_path / "net.safetensors", tensors, metadata)
    with pytest.raises(ModelFileError, match="does not hold what it says"):
        load_checkpoint(tmp_path / "net.safetensors")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(RepsrError, match="cannot write"):
        save_tensors(tmp_path / "net.safetensors" / "below-a-file.safetensors", {"a": torch.zeros(1)}, {})
    assert path.read_bytes() == b"old"


def test_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import resource, signal
from pathlib import Path
import torch
from repsr_deploy.checkpoint import save_tensors
from repsr_deploy.errors import RepsrError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_tensors(Path({str(tmp_path / "net.safetensors")!r}), {{"a": torch.zeros(10000)}}, {{}})
except RepsrError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path / 'net.safetensors'}")
    assert list(tmp_path.iterdir()) == []
