"""The examples of docs/kernels.md: run where that can be, read by Python elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.simulated_gpu.child import simulated_gpu_or_skip

ROOT = Path(__file__).parents[3]
EXAMPLES: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "kernels.md").read_text(), re.DOTALL)


def example(word: str) -> str:
    """The one with this word."""
    (found,) = (text for text in EXAMPLES if word in text)
    return found


def test_every_example_is_python_and_names_what_there_is() -> None:
    assert len(EXAMPLES) == 4
    for text in EXAMPLES:
        compile(text, "docs/kernels.md", "exec")
        imports = "\n".join(line for line in text.splitlines() if re.match(r"from (repsr_kernels|repsr_deploy)", line))
        exec(imports, {})


def test_on_a_processor() -> None:
    exec(example("cpu.run"), {})


@pytest.mark.slow
def test_with_pycuda_on_the_simulated_gpu() -> None:
    done = simulated_gpu_or_skip().run(["-c", example("gpuarray.empty")], {})
    assert done.returncode == 0, done.stdout
