// AVX-512 F, BW, DQ, VL, VNNI.
#include "numbers_avx512.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_avx512vnni() {
    static constexpr Kernels kernels = make_kernels<Avx512Floats, Avx512NarrowCodes>("avx512vnni");
    return &kernels;
}

}  // namespace repsr::cpu
