"""The wheel holds exactly what it should. It is built through the sdist, as releases are."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SOURCE = (".*", "__pycache__", "*.egg-info", "build", "dist", "demo-out", "runs")

WHEEL_FILES = {
    "repsr_deploy/__init__.py",
    "repsr_deploy/_version.py",
    "repsr_deploy/bench/__init__.py",
    "repsr_deploy/bench/branches.py",
    "repsr_deploy/bench/compare.py",
    "repsr_deploy/bench/contestant.py",
    "repsr_deploy/bench/end_to_end.py",
    "repsr_deploy/bench/engine_report.py",
    "repsr_deploy/bench/families.py",
    "repsr_deploy/bench/kernels/__init__.py",
    "repsr_deploy/bench/kernels/bandwidth.py",
    "repsr_deploy/bench/kernels/device.py",
    "repsr_deploy/bench/kernels/device_cases.py",
    "repsr_deploy/bench/kernels/device_clock.py",
    "repsr_deploy/bench/kernels/device_memory.py",
    "repsr_deploy/bench/kernels/features_module.py",
    "repsr_deploy/bench/kernels/measure.py",
    "repsr_deploy/bench/kernels/on_device.py",
    "repsr_deploy/bench/kernels/pipeline.py",
    "repsr_deploy/bench/kernels/pipeline_networks.py",
    "repsr_deploy/bench/kernels/processor.py",
    "repsr_deploy/bench/kernels/steps.py",
    "repsr_deploy/bench/kernels/targets.py",
    "repsr_deploy/bench/kernels/torch_ways.py",
    "repsr_deploy/bench/kernels/usual.py",
    "repsr_deploy/bench/kernels/ways.py",
    "repsr_deploy/bench/kernels/whole_network.py",
    "repsr_deploy/bench/machine.py",
    "repsr_deploy/bench/memory.py",
    "repsr_deploy/bench/peak.py",
    "repsr_deploy/bench/pictures.py",
    "repsr_deploy/bench/plot.py",
    "repsr_deploy/bench/pytorch.py",
    "repsr_deploy/bench/report.py",
    "repsr_deploy/bench/sources.py",
    "repsr_deploy/bench/table.py",
    "repsr_deploy/bench/throughput.py",
    "repsr_deploy/bench/timing.py",
    "repsr_deploy/bench/trtexec/__init__.py",
    "repsr_deploy/bench/trtexec/command.py",
    "repsr_deploy/bench/trtexec/exports.py",
    "repsr_deploy/bench/trtexec/failure.py",
    "repsr_deploy/bench/trtexec/log.py",
    "repsr_deploy/bench/trtexec/measure.py",
    "repsr_deploy/bench/trtexec/options.py",
    "repsr_deploy/bench/trtexec/process.py",
    "repsr_deploy/bench/trtexec/program.py",
    "repsr_deploy/bench/trtexec/result.py",
    "repsr_deploy/bench/trtexec/shapes.py",
    "repsr_deploy/bench/turns.py",
    "repsr_deploy/bench/upscaling.py",
    "repsr_deploy/bench/verify.py",
    "repsr_deploy/checkpoint.py",
    "repsr_deploy/cli/__init__.py",
    "repsr_deploy/cli/bench.py",
    "repsr_deploy/cli/bench_kernels.py",
    "repsr_deploy/cli/bench_options.py",
    "repsr_deploy/cli/bench_output.py",
    "repsr_deploy/cli/errors.py",
    "repsr_deploy/cli/evaluate.py",
    "repsr_deploy/cli/fuse.py",
    "repsr_deploy/cli/upscale.py",
    "repsr_deploy/errors.py",
    "repsr_deploy/export/__init__.py",
    "repsr_deploy/export/calibration.py",
    "repsr_deploy/export/checkpoint.py",
    "repsr_deploy/export/compact.py",
    "repsr_deploy/export/convert.py",
    "repsr_deploy/export/form.py",
    "repsr_deploy/export/graph.py",
    "repsr_deploy/export/guard.py",
    "repsr_deploy/export/half.py",
    "repsr_deploy/export/half_plan.py",
    "repsr_deploy/export/inspect.py",
    "repsr_deploy/export/int8/__init__.py",
    "repsr_deploy/export/int8/calibrate.py",
    "repsr_deploy/export/int8/convert.py",
    "repsr_deploy/export/int8/equalise.py",
    "repsr_deploy/export/int8/images.py",
    "repsr_deploy/export/int8/layers.py",
    "repsr_deploy/export/int8/measure.py",
    "repsr_deploy/export/int8/observe.py",
    "repsr_deploy/export/int8/plan.py",
    "repsr_deploy/export/int8/qdq.py",
    "repsr_deploy/export/int8/report.py",
    "repsr_deploy/export/int8/search.py",
    "repsr_deploy/export/int8/tuned.py",
    "repsr_deploy/export/io.py",
    "repsr_deploy/export/onnx.py",
    "repsr_deploy/export/pictures.py",
    "repsr_deploy/export/probes.py",
    "repsr_deploy/export/saving.py",
    "repsr_deploy/export/selftest.py",
    "repsr_deploy/export/selftest_cases.py",
    "repsr_deploy/export/trace.py",
    "repsr_deploy/export/verify.py",
    "repsr_deploy/export/zoo.py",
    "repsr_deploy/files.py",
    "repsr_deploy/folding/__init__.py",
    "repsr_deploy/folding/algebra.py",
    "repsr_deploy/folding/calibrate.py",
    "repsr_deploy/folding/fold.py",
    "repsr_deploy/folding/forward.py",
    "repsr_deploy/folding/graph/__init__.py",
    "repsr_deploy/folding/graph/calibrate.py",
    "repsr_deploy/folding/graph/compare.py",
    "repsr_deploy/folding/graph/compare_probes.py",
    "repsr_deploy/folding/graph/constants.py",
    "repsr_deploy/folding/graph/cost.py",
    "repsr_deploy/folding/graph/cut.py",
    "repsr_deploy/folding/graph/emit.py",
    "repsr_deploy/folding/graph/evaluate.py",
    "repsr_deploy/folding/graph/evaluate_call.py",
    "repsr_deploy/folding/graph/evaluate_layout.py",
    "repsr_deploy/folding/graph/evaluate_pointwise.py",
    "repsr_deploy/folding/graph/evaluate_quantize.py",
    "repsr_deploy/folding/graph/evaluate_resize.py",
    "repsr_deploy/folding/graph/evaluate_statistics.py",
    "repsr_deploy/folding/graph/evaluate_types.py",
    "repsr_deploy/folding/graph/evaluate_windows.py",
    "repsr_deploy/folding/graph/fold.py",
    "repsr_deploy/folding/graph/linear.py",
    "repsr_deploy/folding/graph/operator.py",
    "repsr_deploy/folding/graph/plan.py",
    "repsr_deploy/folding/graph/read.py",
    "repsr_deploy/folding/graph/read_checks.py",
    "repsr_deploy/folding/graph/read_opset.py",
    "repsr_deploy/folding/graph/rewrite.py",
    "repsr_deploy/folding/graph/shapes.py",
    "repsr_deploy/folding/graph/shuffle.py",
    "repsr_deploy/folding/graph/skip.py",
    "repsr_deploy/folding/proof.py",
    "repsr_deploy/host.py",
    "repsr_deploy/imaging/__init__.py",
    "repsr_deploy/imaging/alpha.py",
    "repsr_deploy/imaging/batch.py",
    "repsr_deploy/imaging/chroma.py",
    "repsr_deploy/imaging/container.py",
    "repsr_deploy/imaging/folders.py",
    "repsr_deploy/imaging/image_file.py",
    "repsr_deploy/imaging/memory.py",
    "repsr_deploy/imaging/network.py",
    "repsr_deploy/imaging/samples.py",
    "repsr_deploy/imaging/tiling.py",
    "repsr_deploy/imaging/upscaler.py",
    "repsr_deploy/metrics/__init__.py",
    "repsr_deploy/metrics/colour.py",
    "repsr_deploy/metrics/evaluate.py",
    "repsr_deploy/metrics/quality.py",
    "repsr_deploy/metrics/resize.py",
    "repsr_deploy/model_info.py",
    "repsr_deploy/nets/__init__.py",
    "repsr_deploy/nets/base.py",
    "repsr_deploy/nets/ecbsr.py",
    "repsr_deploy/nets/edsr.py",
    "repsr_deploy/nets/modulation.py",
    "repsr_deploy/nets/network.py",
    "repsr_deploy/nets/norm.py",
    "repsr_deploy/nets/ops.py",
    "repsr_deploy/nets/plain.py",
    "repsr_deploy/nets/repsr.py",
    "repsr_deploy/nets/spec.py",
    "repsr_deploy/nets/srresnet.py",
    "repsr_deploy/nets/stack.py",
    "repsr_deploy/nets/wdsr.py",
    "repsr_deploy/nets/weight_norm.py",
    "repsr_deploy/py.typed",
    "repsr_deploy/runtimes/__init__.py",
    "repsr_deploy/runtimes/backends.py",
    "repsr_deploy/runtimes/base.py",
    "repsr_deploy/runtimes/choice.py",
    "repsr_deploy/runtimes/choice_cache.py",
    "repsr_deploy/runtimes/finished.py",
    "repsr_deploy/runtimes/finished_gpu.py",
    "repsr_deploy/runtimes/foreign.py",
    "repsr_deploy/runtimes/graph.py",
    "repsr_deploy/runtimes/onnxruntime.py",
    "repsr_deploy/runtimes/onnxruntime_gpu.py",
    "repsr_deploy/runtimes/openvino.py",
    "repsr_deploy/runtimes/openvino_model.py",
    "repsr_deploy/runtimes/ports.py",
    "repsr_deploy/runtimes/prelu.py",
    "repsr_deploy/runtimes/source.py",
    "repsr_deploy/runtimes/tensorrt/__init__.py",
    "repsr_deploy/runtimes/tensorrt/api.py",
    "repsr_deploy/runtimes/tensorrt/build.py",
    "repsr_deploy/runtimes/tensorrt/cache.py",
    "repsr_deploy/runtimes/tensorrt/device.py",
    "repsr_deploy/runtimes/tensorrt/engine.py",
    "repsr_deploy/runtimes/tensorrt/engine_file.py",
    "repsr_deploy/runtimes/tensorrt/execution.py",
    "repsr_deploy/runtimes/tensorrt/lane.py",
    "repsr_deploy/runtimes/tensorrt/model.py",
    "repsr_deploy/runtimes/tensorrt/network.py",
    "repsr_deploy/runtimes/tensorrt/options.py",
    "repsr_deploy/runtimes/tensorrt/precision.py",
    "repsr_deploy/runtimes/tensorrt/progress.py",
    "repsr_deploy/runtimes/tensorrt/record.py",
    "repsr_deploy/runtimes/tensorrt/shapes.py",
    "repsr_deploy/state_file.py",
    "repsr_deploy/tolerances.py",
    "repsr_deploy/weights/__init__.py",
    "repsr_deploy/weights/photo-x2.md",
    "repsr_deploy/weights/photo-x2.onnx",
    "repsr_deploy/weights/photo-x2.safetensors",
    "repsr_deploy/weights/photo-x4.md",
    "repsr_deploy/weights/photo-x4.onnx",
    "repsr_deploy/weights/photo-x4.safetensors",
    "repsr_kernels/__init__.py",
    "repsr_kernels/cache_dir.py",
    "repsr_kernels/compile/__init__.py",
    "repsr_kernels/compile/__main__.py",
    "repsr_kernels/compile/cache.py",
    "repsr_kernels/compile/host.py",
    "repsr_kernels/compile/image.py",
    "repsr_kernels/compile/nvcc.py",
    "repsr_kernels/compile/nvrtc.py",
    "repsr_kernels/compile/program.py",
    "repsr_kernels/compile/resources.py",
    "repsr_kernels/compile/toolkit.py",
    "repsr_kernels/cpu.py",
    "repsr_kernels/csrc/blocks.cuh",
    "repsr_kernels/csrc/border.cuh",
    "repsr_kernels/csrc/fused_network.cu",
    "repsr_kernels/csrc/fused_network.cuh",
    "repsr_kernels/csrc/fused_upsample.cu",
    "repsr_kernels/csrc/fused_upsample.cuh",
    "repsr_kernels/csrc/fused_upsample_video.cuh",
    "repsr_kernels/csrc/host_fused_upsample.cpp",
    "repsr_kernels/csrc/host_preprocess.cpp",
    "repsr_kernels/csrc/host_threads.hpp",
    "repsr_kernels/csrc/mma.cuh",
    "repsr_kernels/csrc/numbers.cuh",
    "repsr_kernels/csrc/params.cuh",
    "repsr_kernels/csrc/platform.cuh",
    "repsr_kernels/csrc/preprocess.cu",
    "repsr_kernels/csrc/preprocess.cuh",
    "repsr_kernels/csrc/shared_memory.cuh",
    "repsr_kernels/csrc/shifted.cuh",
    "repsr_kernels/csrc/yuv.cuh",
    "repsr_kernels/errors.py",
    "repsr_kernels/fused_network/__init__.py",
    "repsr_kernels/fused_network/estimate.py",
    "repsr_kernels/fused_network/launch.py",
    "repsr_kernels/fused_network/model.py",
    "repsr_kernels/fused_network/operation.py",
    "repsr_kernels/fused_network/plan.py",
    "repsr_kernels/fused_network/reference.py",
    "repsr_kernels/fused_network/tables.py",
    "repsr_kernels/fused_network/variants.py",
    "repsr_kernels/fused_network/weights.py",
    "repsr_kernels/gpu/__init__.py",
    "repsr_kernels/gpu/arrays.py",
    "repsr_kernels/gpu/context.py",
    "repsr_kernels/gpu/dlpack.py",
    "repsr_kernels/gpu/driver.py",
    "repsr_kernels/gpu/launch.py",
    "repsr_kernels/gpu/memory.py",
    "repsr_kernels/gpu/modules.py",
    "repsr_kernels/gpu/pipeline/__init__.py",
    "repsr_kernels/gpu/pipeline/frames.py",
    "repsr_kernels/gpu/pipeline/job.py",
    "repsr_kernels/gpu/pipeline/networks.py",
    "repsr_kernels/gpu/pipeline/onnxruntime.py",
    "repsr_kernels/gpu/pipeline/pinned.py",
    "repsr_kernels/gpu/pipeline/pipeline.py",
    "repsr_kernels/gpu/pipeline/pytorch.py",
    "repsr_kernels/gpu/pipeline/ring.py",
    "repsr_kernels/gpu/pipeline/slot.py",
    "repsr_kernels/gpu/pipeline/stages.py",
    "repsr_kernels/gpu/pipeline/ticket.py",
    "repsr_kernels/gpu/pipeline/tiles.py",
    "repsr_kernels/gpu/primary.py",
    "repsr_kernels/gpu/streams.py",
    "repsr_kernels/operations.py",
    "repsr_kernels/params.py",
    "repsr_kernels/py.typed",
    "repsr_kernels/reference/__init__.py",
    "repsr_kernels/reference/preprocess.py",
    "repsr_kernels/reference/samples.py",
    "repsr_kernels/reference/upsample.py",
    "repsr_kernels/reference/yuv.py",
    "repsr_kernels/tensors.py",
    "repsr_kernels/variants.py",
    "repsr_kernels/yuv.py",
    "repsr_train/__init__.py",
    "repsr_train/__main__.py",
    "repsr_train/analysis/__init__.py",
    "repsr_train/analysis/ablation.py",
    "repsr_train/analysis/ablation_plot.py",
    "repsr_train/analysis/commands.py",
    "repsr_train/analysis/features.py",
    "repsr_train/analysis/figure.py",
    "repsr_train/analysis/inputs.py",
    "repsr_train/analysis/representation.py",
    "repsr_train/analysis/representation_plot.py",
    "repsr_train/analysis/saliency.py",
    "repsr_train/analysis/saliency_plot.py",
    "repsr_train/analysis/subjects.py",
    "repsr_train/batches.py",
    "repsr_train/bench.py",
    "repsr_train/cli.py",
    "repsr_train/cli_analyse.py",
    "repsr_train/cli_degrade.py",
    "repsr_train/cli_prepare.py",
    "repsr_train/cli_qat.py",
    "repsr_train/cli_study.py",
    "repsr_train/config.py",
    "repsr_train/data/__init__.py",
    "repsr_train/data/bench.py",
    "repsr_train/data/crops.py",
    "repsr_train/data/device.py",
    "repsr_train/data/folder.py",
    "repsr_train/data/journal.py",
    "repsr_train/data/manifest.py",
    "repsr_train/data/outcomes.py",
    "repsr_train/data/pair.py",
    "repsr_train/data/parallel.py",
    "repsr_train/data/photograph.py",
    "repsr_train/data/prepare.py",
    "repsr_train/data/scan.py",
    "repsr_train/data/similarity.py",
    "repsr_train/data/store.py",
    "repsr_train/data/stream.py",
    "repsr_train/degradations/__init__.py",
    "repsr_train/degradations/checks.py",
    "repsr_train/degradations/eight.py",
    "repsr_train/degradations/filters.py",
    "repsr_train/degradations/gallery.py",
    "repsr_train/degradations/jpeg.py",
    "repsr_train/degradations/kernels.py",
    "repsr_train/degradations/noise.py",
    "repsr_train/degradations/process.py",
    "repsr_train/degradations/resize.py",
    "repsr_train/degradations/second_order.py",
    "repsr_train/distributed.py",
    "repsr_train/ema.py",
    "repsr_train/experiment.py",
    "repsr_train/folder.py",
    "repsr_train/guard.py",
    "repsr_train/interchange.py",
    "repsr_train/losses.py",
    "repsr_train/optimizers.py",
    "repsr_train/overrides.py",
    "repsr_train/py.typed",
    "repsr_train/qat.py",
    "repsr_train/recipes.py",
    "repsr_train/recorder.py",
    "repsr_train/schedules.py",
    "repsr_train/signals.py",
    "repsr_train/state.py",
    "repsr_train/step.py",
    "repsr_train/study/__init__.py",
    "repsr_train/study/catalogue.py",
    "repsr_train/study/claims.py",
    "repsr_train/study/flat.py",
    "repsr_train/study/picture.py",
    "repsr_train/study/plot.py",
    "repsr_train/study/report.py",
    "repsr_train/study/results.py",
    "repsr_train/study/runs.py",
    "repsr_train/study/scores.py",
    "repsr_train/study/study.py",
    "repsr_train/trainer.py",
    "repsr_train/validation.py",
    "repsr_train/watch/__init__.py",
    "repsr_train/watch/curves.py",
    "repsr_train/watch/metrics.py",
    "repsr_train/watch/progress.py",
    "repsr_train/watch/samples.py",
    "repsr_train/watch/tensorboard.py",
    "repsr_train/watch/watchers.py",
}
"""Every file of the wheel, its own metadata apart. A new module or weight file is added here by hand, on purpose."""


def build(root: Path, out: Path) -> tuple[Path, Path]:
    """Build sdist and, from it, wheel of the project in `root`, with the pinned setuptools of this environment."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, root]
    result = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def packaged_files(wheel: Path) -> set[str]:
    """Files that the wheel installs, its metadata folder apart."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata_file(wheel: Path, name: str) -> str:
    """Text of the file `name` in the wheel's metadata folder."""
    folder = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"{folder}/{name}").decode()


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that a build neither reads leftovers of the checkout nor leaves any."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "tree", ignore=shutil.ignore_patterns(*NOT_SOURCE))


@pytest.fixture(scope="module")
def built(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(source_tree, tmp_path_factory.mktemp("dist"))


def test_wheel_has_exactly_these_files(built: tuple[Path, Path]) -> None:
    assert packaged_files(built[1]) == WHEEL_FILES


def test_wheel_metadata(built: tuple[Path, Path]) -> None:
    _, wheel = built
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    declared = {line for line in metadata_file(wheel, "entry_points.txt").splitlines() if "=" in line}
    assert declared == {f"{name} = {target}" for name, target in scripts.items()}
    assert metadata_file(wheel, "top_level.txt").split() == ["repsr_deploy", "repsr_kernels", "repsr_train"]
    assert metadata_file(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_sdist_can_be_tested(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"constraints.txt", "CONTRIBUTING.md", "scripts/env", "scripts/test", "tests/test_packaging.py"} <= names
    assert names >= {
        name.replace("repsr_train/", "training/repsr_train/").replace("repsr_kernels/", "kernels/repsr_kernels/")
        for name in WHEEL_FILES
    }
    assert not [name for name in names if "__pycache__" in name]


def test_installed_wheel_is_importable(built: tuple[Path, Path], tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", tmp_path, built[1]], check=True)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import importlib, importlib.metadata, repsr_deploy, repsr_train
assert repsr_deploy.__file__ == {str(tmp_path / "repsr_deploy/__init__.py")!r}, repsr_deploy.__file__
assert repsr_train.__file__ == {str(tmp_path / "repsr_train/__init__.py")!r}, repsr_train.__file__
assert repsr_deploy.__version__ == importlib.metadata.version("repsr-deploy") != ""
for script in importlib.metadata.entry_points(group="console_scripts"):
    if script.value.startswith("repsr_"):
        assert callable(script.load()), script
"""
    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_strays_stay_out_and_a_new_module_is_seen(source_tree: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(source_tree, tmp_path / "tree")
    for stray in ("build/lib/repsr_deploy/stale.py", "repsr_deploy/notes.txt", "repsr_deploy/weights/raw.npz"):
        (tree / stray).parent.mkdir(parents=True, exist_ok=True)
        (tree / stray).write_text("")
    (tree / "repsr_deploy/imaging/planted.py").write_text("")
    (tmp_path / "dist").mkdir()
    _, wheel = build(tree, tmp_path / "dist")
    assert packaged_files(wheel) - WHEEL_FILES == {"repsr_deploy/imaging/planted.py"}
