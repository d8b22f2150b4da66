// AVX-512 F, BW, DQ, VL.
#include "numbers_avx512.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_avx512() {
    static constexpr Kernels kernels = make_kernels<Avx512Floats, Avx512WideCodes>("avx512");
    return &kernels;
}

}  // namespace repsr::cpu
