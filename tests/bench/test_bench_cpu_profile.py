"""Where the time goes: listings of objdump and callgrind as they are, and the real library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from repsr_deploy.bench.cpu.callgrind import count_of, read_annotation
from repsr_deploy.bench.cpu.contestants import find_engine
from repsr_deploy.bench.cpu.inner_loops import InnerLoop, inner_loops, library_loops
from repsr_deploy.bench.cpu.layers import LayerTimes, time_layers
from repsr_deploy.bench.cpu.profile import counts_said, loops_said, short
from repsr_deploy.errors import RepsrError

ENGINE, WHY_NO_ENGINE = find_engine()
needs_engine = pytest.mark.skipif(not ENGINE.instruction_sets, reason="; ".join(WHY_NO_ENGINE))

LISTING = """
engine.so:     file format elf64-x86-64

Disassembly of section .text:

0000000000001000 <void repsr::cpu::(anonymous namespace)::make_row<Halves>(long)>:
    1000:\tmov    %rdi,%rax
    1008:\tvmovdqu64 (%rsi),%zmm1
    1010:\tvdpbf16ps (%rdx){1to16},%zmm1,%zmm2
    1018:\tvdpbf16ps 0x4(%rdx){1to16},%zmm1,%zmm3
    1020:\tadd    $0x8,%rdx
    1028:\tcmp    %rdx,%rcx
    1030:\tjne    1008 <void repsr::cpu::(anonymous namespace)::make_row<Halves>(long)+0x8>
    1038:\tsub    $0x1,%rax
    1040:\tjne    1000 <void repsr::cpu::(anonymous namespace)::make_row<Halves>(long)>
    1048:\tret

0000000000002000 <long spin<Halves>(long)>:
    2000:\tvdpbf16ps %zmm1,%zmm1,%zmm2
    2008:\tvdpbf16ps %zmm1,%zmm1,%zmm3
    2010:\tvdpbf16ps %zmm1,%zmm1,%zmm4
    2018:\tjne    2000 <long spin<Halves>(long)>

0000000000003000 <codes>:
    3000:\t{vex} vpdpbusd %ymm0,%ymm1,%ymm2
    3008:\tjmp    4000 <elsewhere>
    3010:\tjb     3000 <codes>
"""
ARM = """
0000000000001000 <make_row>:
    1000:\tldr\tq1, [x0], #16
    1004:\tbfdot\tv2.4s, v1.8h, v3.2h[0]
    1008:\tbfdot\tv4.4s, v1.8h, v3.2h[1]
    100c:\tsubs\tx1, x1, #0x1
    1010:\tb.ne\t1000 <make_row>  // b.any
    1014:\tret
"""
ANNOTATION = """
--------------------------------------------------------------------------------
Profile data file 'cg.out' (creator: callgrind-3.19.0)
--------------------------------------------------------------------------------
Events recorded:  Ir
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
851,961,210 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir                   file:function
--------------------------------------------------------------------------------
75,935,191 ( 8.91%)  /tmp/Python/ceval.c:_PyEval_EvalFrameDefault'2 [/usr/lib/libpython3.11.so.1.0]
73,593,360 ( 8.64%)  ???:void repsr::cpu::make_row<repsr::cpu::Floats, repsr::cpu::Floats>(long) [/x/engine-0.so]
12,918,420 ( 1.52%)  ???:void repsr::cpu::(anonymous namespace)::make_sums<repsr::cpu::Floats, 4>(long) [/x/a.so]
   488,220 ( 0.06%)  ???:repsr_run [/x/engine-0.so]
   200,000 ( 0.02%)  ./string/memmove.S:__memcpy_avx_unaligned_erms [/usr/lib/libc.so.6]
"""


def test_inner_loops_of_a_listing() -> None:
    row, codes = inner_loops(LISTING)
    assert (row.dot_product, row.dot_products, row.instructions) == ("vdpbf16ps zmm", 2, 6)
    assert row.share == pytest.approx(1 / 3)
    assert (codes.dot_product, codes.dot_products, codes.instructions) == ("vpdpbusd ymm", 1, 3)
    (arm,) = inner_loops(ARM)
    assert (arm.function, arm.dot_product, arm.dot_products, arm.instructions) == ("make_row", "bfdot 4s", 2, 5)
    assert inner_loops("") == []


def test_loops_in_words() -> None:
    loops = [
        InnerLoop(function="rows", dot_product="vpdpbusd zmm", dot_products=24, instructions=39),
        InnerLoop(function="sums", dot_product="vpdpbusd zmm", dot_products=24, instructions=45),
        InnerLoop(function="finish", dot_product="vfmaddps zmm", dot_products=24, instructions=360),
        InnerLoop(function="rows", dot_product="vfmaddps zmm", dot_products=12, instructions=15),
    ]
    assert loops_said(loops) == [
        "inner loops of vpdpbusd zmm: 24 of 39 to 45 instructions are dot products",
        "inner loops of vfmaddps zmm: 12 of 15 instructions are dot products",
    ]


def test_instructions_by_function() -> None:
    found = read_annotation(ANNOTATION)
    assert found.total == 73_593_360 + 12_918_420 + 488_220
    assert [count for _, count in found.functions] == [73_593_360, 12_918_420, 488_220]
    said = counts_said(found, 43_500_000)
    assert said == (
        "2.00 for each dot product of a vector that is needed; "
        "85% make_row<Floats, Floats>, 15% make_sums<Floats, 4>, 1% repsr_run"
    )
    with pytest.raises(RepsrError, match="counted nothing"):
        read_annotation(ANNOTATION.replace("repsr", "other"))


def test_short_names() -> None:
    assert short("bool repsr::cpu::(anonymous namespace)::make_pixels<A, 3, 2>(repsr::cpu::Packed const&) const") == (
        "make_pixels<A, 3, 2>"
    )
    assert len(short("f" * 200)) == 90


def test_layers_by_difference() -> None:
    times = LayerTimes(
        instruction_set="avx512bf16", precision="bf16", layers=4,
        whole_s=0.050, layer_s=0.010, layer_ideal_s=0.009, ideal_s=0.040,
    )  # fmt: skip
    assert times.ends_s == pytest.approx(0.010)
    assert times.ends_ideal_s == pytest.approx(0.004)
    said = str(times)
    assert "each of the 4 layers between head and tail 10.00 (90% of the instruction's speed)" in said
    assert "head, tail and pixels together 10.0, of which multiply-adds are 4.0" in said
    assert said.endswith("it would be 1.25 times as fast, in the layers between 1.09, in head and tail 1.14")


@needs_engine
def test_layers_of_the_engine() -> None:
    name = ENGINE.best("fp32")
    assert name is not None
    times = time_layers(name, "fp32", channels=16, height=24, width=64, seconds=0.01, peak=1e9)
    assert times.ideal_s == pytest.approx(9 * (3 * 16 + 4 * 16 * 16 + 16 * 12) * 24 * 64 / 1e9)
    assert times.layer_ideal_s == pytest.approx(9 * 16 * 16 * 24 * 64 / 1e9)
    assert times.whole_s > 0


@needs_engine
@pytest.mark.skipif(shutil.which("objdump") is None or shutil.which("g++") is None, reason="no binutils, no compiler")
def test_objdump_lists_a_compiled_loop(tmp_path: Path) -> None:
    source = tmp_path / "dots.cpp"
    source.write_text(
        'extern "C" void scale(float* a, const float* b, long n) {\n'
        "    for (long i = 0; i < n; ++i) a[i] = __builtin_fmaf(a[i], b[i], a[i]);\n}\n"
    )
    library = tmp_path / "dots.so"
    flags = ["-O2", "-ftree-vectorize", "-fvect-cost-model=unlimited", "-mavx2", "-mfma", "-shared", "-fPIC"]
    done = subprocess.run(["g++", *flags, str(source), "-o", str(library)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no AVX2 from this compiler")
    loops = library_loops(library)
    assert ("scale", "vfmaddps ymm", 1) in [(loop.function, loop.dot_product, loop.dot_products) for loop in loops]
    with pytest.raises(RepsrError, match="objdump cannot read"):
        library_loops(source)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind")
def test_callgrind_runs_a_program_and_reads_what_it_says() -> None:
    program = shutil.which("true")
    assert program is not None
    with pytest.raises(RepsrError, match="counted nothing in the engine"):
        count_of([program])
    with pytest.raises(RepsrError, match="valgrind failed"):
        count_of([str(Path("/missing/program"))])
