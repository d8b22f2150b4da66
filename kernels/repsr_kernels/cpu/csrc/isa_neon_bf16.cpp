// Armv8.2-A, dot products of bytes and of bf16.
#include "numbers_neon.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_neon_bf16() {
    static constexpr Kernels kernels = make_kernels<NeonFloats, NeonHalves, NeonCodes>("neon_bf16");
    return &kernels;
}

}  // namespace repsr::cpu
