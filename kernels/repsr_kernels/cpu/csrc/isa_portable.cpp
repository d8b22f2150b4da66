// Any processor.
#include "numbers_portable.hpp"
#include "table.hpp"

namespace repsr::cpu {

const Kernels* kernels_portable() {
    static constexpr Kernels kernels = make_kernels<PortableFloats, PortableCodes>("portable");
    return &kernels;
}

}  // namespace repsr::cpu
