// What a processor of the x86-64 family says of itself (Intel SDM volume 2, CPUID and XGETBV; AMD APM volume 3).
#pragma once

#include <cpuid.h>

#include <algorithm>
#include <cstdint>

namespace repsr::cpu {

// The answers that matter here; 0 where a processor knows the question not.
struct Identity {
    uint32_t leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0, leaf7_1_eax = 0;
    uint64_t xcr0 = 0;  // registers that the operating system keeps for each thread
};

struct Features {
    bool avx2 = false, avxvnni = false, avx512 = false, avx512vnni = false, avx512bf16 = false;
};

// Each one needs those before it, AVX-VNNI apart, and its registers kept by the operating system.
inline Features features_of(const Identity& identity) {
    const auto bit = [](uint32_t word, int position) { return ((word >> position) & 1) != 0; };
    constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;
    Features has;
    has.avx2 = (identity.xcr0 & kYmm) == kYmm && bit(identity.leaf1_ecx, 28) /* AVX */ &&
               bit(identity.leaf1_ecx, 12) /* FMA */ && bit(identity.leaf7_ebx, 5);
    has.avxvnni = has.avx2 && bit(identity.leaf7_1_eax, 4);
    has.avx512 = has.avx2 && (identity.xcr0 & kZmm) == kZmm && bit(identity.leaf7_ebx, 16) /* F */ &&
                 bit(identity.leaf7_ebx, 17) /* DQ */ && bit(identity.leaf7_ebx, 30) /* BW */ &&
                 bit(identity.leaf7_ebx, 31) /* VL */;
    has.avx512vnni = has.avx512 && bit(identity.leaf7_ecx, 11);
    has.avx512bf16 = has.avx512vnni && bit(identity.leaf7_ecx, 1) /* VBMI */ && bit(identity.leaf7_1_eax, 5);
    return has;
}

inline Identity read_identity() {
    Identity identity;
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return identity;
    identity.leaf1_ecx = ecx;
    if ((ecx >> 27) & 1) {  // OSXSAVE: xgetbv may be used
        uint32_t low = 0, high = 0;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        identity.xcr0 = (uint64_t{high} << 32) | low;
    }
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return identity;
    identity.leaf7_ebx = ebx;
    identity.leaf7_ecx = ecx;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) identity.leaf7_1_eax = eax;
    return identity;
}

// Bytes of the L2 cache for a core of so many threads; 0 where the processor does not say.
inline int64_t read_l2_cache_bytes(int64_t core_threads) {
    for (const uint32_t leaf : {0x8000001du, 4u}) {  // AMD; Intel
        for (uint32_t index = 0; index < 8; ++index) {
            uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
            if (!__get_cpuid_count(leaf, index, &eax, &ebx, &ecx, &edx) || (eax & 31) == 0) break;
            if (((eax >> 5) & 7) != 2) continue;
            const int64_t ways = int64_t{ebx >> 22} + 1, parts = ((ebx >> 12) & 1023) + 1, line = (ebx & 4095) + 1;
            const int64_t bytes = ways * parts * line * (int64_t{ecx} + 1);
            const int64_t threads = ((eax >> 14) & 4095) + 1;
            return bytes / std::max<int64_t>((threads + core_threads - 1) / core_threads, 1);
        }
    }
    return 0;
}

}  // namespace repsr::cpu
