"""`python -m repsr_kernels.compile`: the usual kernels for all GPUs into the cache, for machines without a compiler."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from repsr_kernels.cache_dir import cache_dir
from repsr_kernels.compile.image import UNIVERSAL, compile_ahead
from repsr_kernels.compile.toolkit import ARCHITECTURES
from repsr_kernels.errors import RepsrError
from repsr_kernels.variants import usual_variants


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, and say so line by line; what was compiled before is not compiled again. Exit code 1 on failure."""
    given = _parser().parse_args(arguments)
    targets = [f"sm_{architecture}" for architecture in given.arch or ARCHITECTURES]
    if not given.arch:
        targets.append(UNIVERSAL)  # for GPUs that have no machine code here
    work = [(variant, target) for variant in usual_variants() for target in targets]
    begun = time.monotonic()
    with ThreadPoolExecutor(given.jobs) as pool:
        running = [pool.submit(compile_ahead, *item) for item in work]
        try:
            for done, future in enumerate(as_completed(running), 1):
                path = future.result()
                left_s = (time.monotonic() - begun) / done * (len(work) - done)
                sys.stdout.write(f"[{done}/{len(work)}, {left_s:.0f} s left] {path.name} {path.stat().st_size} bytes\n")
        except (RepsrError, KeyboardInterrupt) as error:
            pool.shutdown(cancel_futures=True)
            sys.stderr.write(f"{str(error) or 'interrupted; what is done stays'}\n")
            return 1
    sys.stdout.write(f"{len(work)} images in {cache_dir('kernels')}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m repsr_kernels.compile", description=__doc__)
    named = ", ".join(map(str, ARCHITECTURES))
    parser.add_argument(
        "--arch", type=int, nargs="+", metavar="N", help=f"ten times a compute capability; {named} and PTX otherwise"
    )
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=int, default=jobs, metavar="N", help=f"compilers at a time; here {jobs}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
