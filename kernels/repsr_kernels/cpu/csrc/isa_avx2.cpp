// AVX2, FMA.
#include "numbers_avx2.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_avx2() {
    static constexpr Kernels kernels = make_kernels<Avx2Floats, Avx2WideCodes>("avx2");
    return &kernels;
}

}  // namespace repsr::cpu
