// Armv8.2-A and dot products of bytes.
#include "numbers_neon.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_neon_dotprod() {
    static constexpr Kernels kernels = make_kernels<NeonFloats, NeonCodes>("neon_dotprod");
    return &kernels;
}

}  // namespace repsr::cpu
