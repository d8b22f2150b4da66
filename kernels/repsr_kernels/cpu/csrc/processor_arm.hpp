// What a processor of the AArch64 family has, as Linux says it (Documentation/arch/arm64/elf_hwcaps.rst).
#pragma once

#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace repsr::cpu {

struct Features {
    bool neon = true;  // AArch64 has it always
    bool neon_dotprod = false, neon_bf16 = false;
};

// `capabilities` and `capabilities2`: AT_HWCAP and AT_HWCAP2 of the auxiliary vector.
inline Features features_of(unsigned long capabilities, unsigned long capabilities2) {
    constexpr unsigned long kDotProduct = 1ul << 20, kBf16 = 1ul << 14;  // HWCAP_ASIMDDP, HWCAP2_BF16
    Features has;
    has.neon_dotprod = (capabilities & kDotProduct) != 0;
    has.neon_bf16 = has.neon_dotprod && (capabilities2 & kBf16) != 0;
    return has;
}

inline Features read_features() {
#if defined(__linux__)
    return features_of(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
#else
    return Features{};
#endif
}

}  // namespace repsr::cpu
