// AVX-512 F, BW, DQ, VL, VNNI, VBMI, BF16.
#include "numbers_avx512.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_avx512bf16() {
    static constexpr Kernels kernels = make_kernels<Avx512Floats, Avx512Halves, Avx512NarrowCodes>("avx512bf16");
    return &kernels;
}

}  // namespace repsr::cpu
