// AVX2, FMA, AVX-VNNI.
#include "numbers_avx2.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_avxvnni() {
    static constexpr Kernels kernels = make_kernels<Avx2Floats, Avx2NarrowCodes>("avxvnni");
    return &kernels;
}

}  // namespace repsr::cpu
