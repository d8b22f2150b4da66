"""A program that behaves as trtexec does, for what cannot run without a GPU: starting it, its flags, files and ends.

It knows the flags of its help and no others, repeats options as its version understands them, and prints a log of
`logs/`. What the flags mean is written down here again, apart from the code under test.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

LOGS = Path(__file__).parent / "logs"
DEFAULTS_10 = {"CUDA Graph": "Disabled", "Data transfers": "Enabled", "Spin-wait": "Disabled"}
DEFAULTS_11 = {"CUDA Graph": "Enabled", "Data transfers": "Disabled", "Spin-wait": "Enabled"}
MEANING_10 = {
    "--useCudaGraph": ("CUDA Graph", "Enabled"),
    "--noDataTransfers": ("Data transfers", "Disabled"),
    "--useSpinWait": ("Spin-wait", "Enabled"),
}
MEANING_11 = {
    "--noCudaGraph": ("CUDA Graph", "Disabled"),
    "--includeDataTransfers": ("Data transfers", "Enabled"),
    "--noSpinWait": ("Spin-wait", "Disabled"),
}


@dataclass(frozen=True)
class Kind:
    """A version that there are logs of."""

    folder: str
    program: str
    version: str
    defaults: dict[str, str]
    meaning: dict[str, tuple[str, str]]

    def read(self, name: str) -> str:
        """A file of its logs."""
        return (LOGS / self.folder / name).read_text()

    def lines(self, name: str = "run.log") -> list[str]:
        """A log of its."""
        return self.read(name).splitlines()


TEN = Kind("trtexec-10.16", "trtexec", "TensorRT 10.16.0 (build 72)", DEFAULTS_10, MEANING_10)
ELEVEN = Kind("trtexec-11.0", "trtexec", "TensorRT 11.0.0 (build 114)", DEFAULTS_11, MEANING_11)
RTX = Kind("tensorrt_rtx-1.7", "tensorrt_rtx", "TensorRT for RTX 1.7.1 (build 116)", DEFAULTS_11, MEANING_11)
KINDS = (TEN, ELEVEN, RTX)

_SCRIPT = r"""#!@PYTHON@ -IS
import json, os, re, shutil, signal, subprocess, sys, time

told = json.loads(@TOLD@)
logs = told["logs"]
help_text = open(logs + "/help.txt").read()
if sys.argv[1:] == ["--help"]:
    print(help_text, end="")
    sys.exit()
given = [argument.partition("=") for argument in sys.argv[1:]]
for name, _, value in given:
    if not re.search("^  " + name + r"\b", help_text, re.MULTILINE):
        print(help_text)
        print("[09/08/2026-10:20:40] [E] Unknown option: %s %s" % (name, value), file=sys.stderr)
        print("&&&& FAILED TensorRT.trtexec")
        sys.exit(1)
files = {name: value for name, _, value in given}
states = dict(told["defaults"])
for argument in sys.argv[1:]:
    if argument in told["meaning"]:
        name, state = told["meaning"][argument]
        states[name] = state
if "--saveEngine" in files:
    open(files["--saveEngine"], "wb").write(b"half an eng")
if told["hangs"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if told["stubborn"] else signal.SIG_DFL)
    child = subprocess.Popen(["sleep", "600"])
    print("processes %d %d in %s" % (os.getpid(), child.pid, os.getcwd()), flush=True)
    time.sleep(600)
for line in open(told["log"]):
    line = line.rstrip("\n")
    for name, state in states.items():
        line = re.sub("] %s: (Enabled|Disabled)$" % name, "] %s: %s" % (name, state), line)
    for old, new in told["replaced"]:
        line = line.replace(old, new)
    print(line, file=sys.stderr if "] [W]" in line or "] [E]" in line else sys.stdout, flush=True)
    time.sleep(told["delay_s"])
for flag, name in (("--exportTimes", "times"), ("--exportProfile", "profile"), ("--exportLayerInfo", "layers")):
    if flag in files and name not in told["unwritten"]:
        shutil.copy(logs + "/%s.json" % name, files[flag])
if "--saveEngine" in files:
    open(files["--saveEngine"], "wb").write(b"an engine")
if "--timingCacheFile" in files:
    open(files["--timingCacheFile"], "ab").write(b"more")
sys.exit(told["code"])
"""


def install(
    folder: Path,
    kind: Kind,
    *,
    log: Path | None = None,
    code: int = 0,
    delay_s: float = 0.0,
    hangs: bool = False,
    stubborn: bool = False,
    defaults: dict[str, str] | None = None,
    replaced: Sequence[tuple[str, str]] = (),
    unwritten: Sequence[str] = (),
) -> Path:
    """Write the program into `folder`.

    Args:
        log: what it prints instead of its own log.
        code: its exit code.
        delay_s: pause after each line.
        hangs: it prints its process id and that of a child, starts an engine, and goes on for ten minutes.
        stubborn: SIGTERM does not end it then.
        defaults: what it takes options to be without flags, beside those of its version.
        replaced: texts of its log that read otherwise.
        unwritten: `times`, `profile` or `layers`, which it does not write.
    """
    told: dict[str, Any] = {
        "logs": str(LOGS / kind.folder),
        "log": str(log or LOGS / kind.folder / "run.log"),
        "code": code,
        "delay_s": delay_s,
        "hangs": hangs,
        "stubborn": stubborn,
        "defaults": kind.defaults | (defaults or {}),
        "meaning": kind.meaning,
        "replaced": list(replaced),
        "unwritten": list(unwritten),
    }
    return install_script(
        folder / kind.program, _SCRIPT.replace("@PYTHON@", sys.executable).replace("@TOLD@", repr(json.dumps(told)))
    )


def install_script(path: Path, text: str) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def write_model(
    path: Path, sides: Sequence[int | str] = ("N", 3, "H", "W"), inputs: Sequence[str] = ("input",)
) -> Path:
    """An ONNX file with such inputs, which passes the first through."""
    dtype = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [inputs[0] if inputs else "weight"], ["output"])],
        "graph",
        [onnx.helper.make_tensor_value_info(name, dtype, list(sides)) for name in inputs]
        + [onnx.helper.make_tensor_value_info("weight", dtype, [1])],
        [onnx.helper.make_tensor_value_info("output", dtype, list(sides))],
        initializer=[onnx.helper.make_tensor("weight", dtype, [1], [1.0])],
    )
    onnx.save(onnx.helper.make_model(graph), path)
    return path
