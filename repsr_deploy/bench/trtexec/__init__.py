"""NVIDIA's own stopwatch, `trtexec` (TensorRT 10 and 11) or `tensorrt_rtx` (TensorRT for RTX), driven and understood.

    program = find_program()                                       # or find_program(Path("/opt/tensorrt/bin/trtexec"))
    options = TrtexecOptions(shapes="64x64:360x640:1080x1920")
    result = measure(Path("model.onnx"), options, program=program, on_line=print)
    print(result.conditions, result.gpu_time.median_s, result.throughput_qps, result.to_row(), result.warnings)

The numbers of different versions may be compared, because no default is left to them: `TrtexecResult.settings` says for
each choice what it was, and whether a flag or the version's own default made it. Not yet measured on a GPU: the parsers
are tested on the formats of real logs, the running of a program on a stand-in that prints them.
"""

from __future__ import annotations

from repsr_deploy.bench.trtexec.exports import Layer
from repsr_deploy.bench.trtexec.log import Summary
from repsr_deploy.bench.trtexec.measure import measure
from repsr_deploy.bench.trtexec.options import TrtexecOptions
from repsr_deploy.bench.trtexec.program import Program, find_program
from repsr_deploy.bench.trtexec.result import TrtexecResult

__all__ = ["Layer", "Program", "Summary", "TrtexecOptions", "TrtexecResult", "find_program", "measure"]
