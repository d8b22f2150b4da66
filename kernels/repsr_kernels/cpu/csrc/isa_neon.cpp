// Any processor of the AArch64 family.
#include "numbers_neon.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_neon() {
    static constexpr Kernels kernels = make_kernels<NeonFloats, NeonWideCodes>("neon");
    return &kernels;
}

}  // namespace repsr::cpu
