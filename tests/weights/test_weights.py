"""Bundled models are found by name, files by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from repsr_deploy.errors import UsageError
from repsr_deploy.runtimes import open_runtime
from repsr_deploy.weights import bundled_names, find_model


@pytest.mark.skipif(not bundled_names(), reason="no model is bundled yet")
def test_every_bundled_model_opens_and_says_what_it_is() -> None:
    for name in bundled_names():
        info = open_runtime(find_model(name), "onnxruntime").info
        assert name.endswith(f"-x{info.scale}")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"")
    assert find_model(path) == path
    assert find_model(str(path)) == path


def test_an_unknown_name_lists_the_bundled_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected an \.onnx file or a bundled name") as caught:
        find_model("photo-x9")
    for name in bundled_names():
        assert name in str(caught.value)
    with pytest.raises(UsageError, match="no model"):
        find_model(tmp_path / "missing.onnx")
