"""Every name of TensorRT that the package uses exists in TensorRT 10, 11 and TensorRT for RTX."""

from __future__ import annotations

import ast
from collections.abc import Generator
from pathlib import Path

import pytest

import repsr_deploy.runtimes.tensorrt
from tests.runtimes.tensorrt.conftest import Worker, environment

PACKAGE = Path(repsr_deploy.runtimes.tensorrt.__file__).parent
CLASSES = {
    "builder": "Builder", "config": "IBuilderConfig", "runtime_config": "IRuntimeConfig",
    "network": "INetworkDefinition", "parser": "OnnxParser", "error": "ParserError", "layer": "ILayer",
    "maker": "ILayer", "tensor": "ITensor", "source": "ITensor", "output": "ITensor", "short": "ITensor",
    "profile": "IOptimizationProfile", "engine": "ICudaEngine", "context": "IExecutionContext", "runtime": "Runtime",
    "inspector": "EngineInspector",
}  # fmt: skip
"""What a variable of this name is in the files that talk to TensorRT."""
FILES = (
    "api.py", "build.py", "engine.py", "execution.py", "lane.py", "network.py", "precision.py", "progress.py",
)  # fmt: skip
NOT_TENSORRT = {"ILayer.get", "ITensor.get"}
"""Engine information is a dictionary: its layers and tensors are no objects of TensorRT."""
RTX_ALONE = {
    "ComputeCapability", "CudaGraphStrategy", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability",
    "IRuntimeConfig.cuda_graph_strategy",
}  # fmt: skip
IMPLEMENTED = {"ILogger.log", "IProgressMonitor.phase_start", "IProgressMonitor.phase_finish"} | {
    "IProgressMonitor.step_complete", "DataType.name", "LayerType.name",
}  # fmt: skip
"""What TensorRT calls or what its values have, rather than what we call."""
BINDINGS = {
    "tensorrt-10": ("tensorrt_bindings", "10.16.1.11"),
    "tensorrt-11": ("tensorrt_bindings", "11.4.0.106"),
    "tensorrt-rtx": ("tensorrt_rtx_bindings", "1.7.1.116"),
}


def used_names(source: str) -> set[str]:
    """Dotted names below the module: `trt.A.B` as `A.B`, and `variable.a` as `Class.a`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute):
            continue
        parts: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            parts.insert(0, base.attr)
            base = base.value
        parts.insert(0, base.id if isinstance(base, ast.Name) else "()")
        if "trt" in parts[:-1]:
            found.add(".".join(parts[parts.index("trt") + 1 :]))
        elif parts[-2] in CLASSES:
            found.add(f"{CLASSES[parts[-2]]}.{parts[-1]}")
    return found


@pytest.fixture(params=list(BINDINGS))
def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[str, Worker]]:
    worker = Worker("tensorrt", environment(request.param, tmp_path))
    yield request.param, worker
    worker.close()


@pytest.mark.tensorrt
def test_every_name_exists(bindings: tuple[str, Worker]) -> None:
    arrangement, worker = bindings
    module, version = BINDINGS[arrangement]
    names = set[str]().union(*(used_names((PACKAGE / file).read_text()) for file in FILES), IMPLEMENTED) - NOT_TENSORRT
    names |= {f"HardwareCompatibilityLevel.{level}" for level in ("SAME_COMPUTE_CAPABILITY", "AMPERE_PLUS")}
    names |= {f"DataType.{name}" for name in ("FLOAT", "HALF", "BF16", "INT8", "UINT8")}
    capabilities = {
        f"ComputeCapability.{name}" for name in ("CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
    }
    assert len(names) > 60
    found = worker.do("absent", module=module, names=sorted(names | capabilities | {"Builder.made_up", "made_up"}))
    assert found["version"] == version
    made_up = {"Builder.made_up", "made_up"}
    assert set(found["absent"]) - made_up == (set() if arrangement == "tensorrt-rtx" else RTX_ALONE | capabilities)
    assert made_up <= set(found["absent"])


def test_names_are_found_in_sources() -> None:
    code = "self.api.trt.A.B(trt.C)\nbuilder.build(self.engine.name)\nother.x\nf().network.add(network.get_layer(0).y)"
    assert used_names(code) == {
        "A", "A.B", "C", "Builder.build", "ICudaEngine.name", "INetworkDefinition.add", "INetworkDefinition.get_layer"
    }  # fmt: skip
