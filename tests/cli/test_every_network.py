"""Every family of networks goes the whole way by the commands: trained, folded with a proof, upscaling a photograph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from repsr_deploy.cli import fuse, upscale
from repsr_deploy.imaging.image_file import read_image, write_image
from repsr_deploy.nets.spec import family_names
from repsr_train import cli as train


@pytest.mark.parametrize("family", family_names())
def test_from_photographs_to_an_upscaled_picture(family: str, photographs: Path, tmp_path: Path) -> None:
    run, model, proof = tmp_path / "run", tmp_path / "model.onnx", tmp_path / "proof.json"
    picture, output = tmp_path / "picture.png", tmp_path / "output.png"
    write_image(picture, skimage.data.astronaut()[20:77, 190:253])
    sizes = [f"--set={text}" for text in ("batch=2", "patch=16", "validate_every=3", "warmup=1", "steps=4")]
    trained = train.main([f"{family}-m1c4-x2", "--data", str(photographs), "--out", str(run), *sizes])
    assert trained == 0
    checkpoint = str(run / "checkpoint.safetensors")
    assert fuse.main(["export", checkpoint, "--out", str(model), "--proof", str(proof)]) == 0
    assert json.loads(proof.read_text())["summary"]["passed"] is True
    assert upscale.main([str(picture), "-o", str(output), "-m", str(model)]) == 0
    enlarged = read_image(output)
    assert enlarged.shape == (114, 126, 3)
    assert len(np.unique(enlarged)) > 20
