"""Damaged models, without end: `python -m tests.kernels.cpu.fuzz --seconds 600`.

Under AddressSanitizer and UndefinedBehaviorSanitizer, by libFuzzer where clang has it; otherwise by changes at random.
What is found lies in `--findings`, and is read again by `fuzz_model FILE`, whose path is printed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repsr_kernels.cpu import build
from tests.kernels.cpu.model_files import SEEDS
from tests.kernels.cpu.programs import make_program

FLAGS = ("-g1", "-fno-sanitize-recover=all")
LIBFUZZER, STANDALONE = "-fsanitize=fuzzer,address,undefined", "-fsanitize=address,undefined"
MUTATIONS_PER_S = 300
"""At least as many as a program without libFuzzer reads on the slowest machine."""
LONGEST_BYTES, MOST_MB, LONGEST_S = 6000, 1024, 10
"""Of a file; that the process may take, libFuzzer's corpus included; that one file may take."""
WORDS = (
    "Add", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "DepthToSpace", "DequantizeLinear", "Div",
    "Equal", "Expand", "Floor", "Gather", "Identity", "LeakyRelu", "Mul", "PRelu", "QuantizeLinear", "Relu", "Reshape",
    "Resize", "Round", "Shape", "Slice", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Upsample", "Where",
    "allowzero", "alpha", "auto_pad", "axes", "axis", "block_size", "blocksize", "coordinate_transformation_mode",
    "half_pixel", "linear", "mode", "nearest_mode", "pads", "perm", "repsr.io", "scales", "value_float", "value_ints",
)  # fmt: skip
"""Names that the reader knows."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The target, compiled."""

    path: Path
    is_libfuzzer: bool


@cache
def compiler_with_libfuzzer() -> list[str] | None:
    """A clang that makes programs with libFuzzer in them, or None."""
    for name in ("clang++", *(f"clang++-{version}" for version in range(22, 13, -1))):
        if (found := shutil.which(name)) and _works(
            [found], LIBFUZZER, 'extern "C" int LLVMFuzzerTestOneInput() { return 0; }'
        ):
            return [found]
    return None


def why_unavailable() -> str | None:
    """Why no target can be made here, or None."""
    try:
        if compiler_with_libfuzzer() or _works(build.find_compiler(), STANDALONE, "int main() {}"):
            return None
    except build.BuildError as error:
        return str(error)
    return "no compiler here makes programs with AddressSanitizer"


def made_program(*, with_engine: bool, standalone: bool = False) -> Program:
    """The target, from the cache.

    Args:
        with_engine: whether models that are read are also made ready and run; takes longer to compile.
        standalone: without libFuzzer, also where it is.

    Raises:
        BuildError: the compiler refuses a text.
    """
    clang = None if standalone else compiler_with_libfuzzer()
    sanitizers = LIBFUZZER if clang else STANDALONE
    watched = [*FLAGS, "-O1" if with_engine else "-O0", sanitizers]
    defines = [*([] if clang else ["-DREPSR_STANDALONE"]), *([] if with_engine else ["-DREPSR_READER_ONLY"])]
    path = make_program(
        "fuzz_model", lambda _: watched if with_engine else None,
        flags=[*watched, *defines], link=[sanitizers], whole={"reader": watched}, compiler=clang, only="portable",
    )  # fmt: skip
    return Program(path=path, is_libfuzzer=clang is not None)


def fuzz(target: Program, *, seconds: int, corpus: Path, findings: Path) -> tuple[int, str]:
    """Files read, and the report about the first that does harm, empty where none did.

    Args:
        corpus: folder; seeds are put there, and what libFuzzer finds worth keeping.
        findings: folder for files that do harm.
    """
    for name, make in SEEDS.items():
        (corpus / f"seed_{name}").write_bytes(make().SerializeToString())
    if not target.is_libfuzzer:
        count = MUTATIONS_PER_S * seconds
        files = sorted(map(str, corpus.iterdir()))
        _, report = _report([str(target.path), "--mutate", str(count), "1", *files], seconds)
        return count, report
    words = findings / "words.dict"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    limits = [
        f"-max_len={LONGEST_BYTES}",
        f"-rss_limit_mb={MOST_MB}",
        f"-timeout={LONGEST_S}",
        f"-max_total_time={seconds}",
    ]
    places = [f"-dict={words}", f"-artifact_prefix={findings}/", str(corpus)]
    quiet = ["-seed=1", "-verbosity=0", "-print_final_stats=1"]
    said, report = _report([str(target.path), *quiet, *limits, *places], seconds)
    counts = re.findall(r"^stat::number_of_executed_units: *(\d+)", said, re.MULTILINE)
    return int(counts[0]) if counts else 0, report


def _report(command: Sequence[str], seconds: int) -> tuple[str, str]:
    """What a program says, and the same if it failed."""
    environment = {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=environment,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=20 * seconds + 60)
        except BaseException:
            process.kill()
            raise
    return said, said if process.returncode else ""


def _works(compiler: Sequence[str], flags: str, text: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="repsr-fuzz-") as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(f"{text}\n")
        try:
            build.run([*compiler, flags, str(source), "-o", str(source.with_suffix(""))])
        except build.BuildError:
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, and say what was found. Exit code 1 where something was."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kernels.cpu.fuzz", description="Damaged models, without end."
    )
    parser.add_argument("--seconds", type=int, default=60, metavar="N")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="kept from run to run")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="FOLDER")
    parser.add_argument("--reader-only", action="store_true", help="what is read is not run")
    parser.add_argument("--standalone", action="store_true", help="without libFuzzer")
    given = parser.parse_args(arguments)
    try:
        target = made_program(with_engine=not given.reader_only, standalone=given.standalone)
    except build.BuildError as error:
        sys.stderr.write("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]) + "\n")
        return 1
    given.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="repsr-corpus-") as folder:
        corpus = given.corpus or Path(folder)
        corpus.mkdir(parents=True, exist_ok=True)
        count, report = fuzz(target, seconds=given.seconds, corpus=corpus, findings=given.findings)
    if report:
        sys.stderr.write(f"{report}\nfound by {target.path}; the file lies in {given.findings}\n")
        return 1
    sys.stdout.write(f"{count} files read, nothing found\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
