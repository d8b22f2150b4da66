"""What is missing is named, with the way out; importing the package loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from repsr_deploy.errors import RuntimeUnavailableError
from repsr_deploy.runtimes.tensorrt import Flavour, open_tensorrt, why_unavailable
from repsr_deploy.runtimes.tensorrt import api as api_module
from repsr_deploy.runtimes.tensorrt.api import MODULES, load


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for names in MODULES.values() for name in names]:
        monkeypatch.setitem(sys.modules, name, None)
    api_module.load.cache_clear()


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("flavour", get_args(Flavour))
def test_no_tensorrt(flavour: Flavour) -> None:
    reason = why_unavailable(flavour)
    assert reason is not None
    assert reason.startswith(f"runtime {flavour} cannot be used here (")
    for module in MODULES[flavour]:
        assert module in reason
    assert reason.endswith(f"install it with `pip install repsr-deploy[{flavour}]`")
    with pytest.raises(RuntimeUnavailableError, match=f"runtime {flavour} cannot be used here"):
        open_tensorrt(b"", flavour)
    with pytest.raises(RuntimeUnavailableError):
        load(flavour)


def test_the_package_is_light() -> None:
    code = (
        "import sys, repsr_deploy.runtimes.tensorrt.cache\n"
        "heavy = {'onnx', 'torch', 'pycuda', 'tensorrt', 'tensorrt_bindings', 'google.protobuf'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
