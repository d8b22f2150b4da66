// Types of numbers for AVX-512 (F, BW, DQ, VL), and what VNNI and BF16 add to it: vectors of 16 words.
#pragma once

#if defined(__clang__)
#include <immintrin.h>
#else  // its intrinsics are written with values that it then warns of (GCC bug 105593)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "convolution.hpp"

namespace repsr::cpu {
namespace {

// Indices for permutations, made by the compiler.
struct Indices {
    alignas(64) uint32_t index[16];
    __m512i load() const { return _mm512_load_si512(index); }
};

// Element k of vector `part` of `count` interleaved ones, taken from the first two.
constexpr Indices interleaved(int count, int part) {
    Indices made{};
    for (int k = 0; k < 16; ++k) {
        const int at = part * 16 + k, from = at % count;
        made.index[k] = static_cast<uint32_t>(at / count + (from == 1 ? 16 : 0));
    }
    return made;
}
// Which elements come from the third one.
constexpr __mmask16 third_of(int part) {
    unsigned mask = 0;
    for (int k = 0; k < 16; ++k) mask |= ((part * 16 + k) % 3 == 2 ? 1u : 0u) << k;
    return static_cast<__mmask16>(mask);
}
constexpr Indices kPairs[2] = {interleaved(2, 0), interleaved(2, 1)};
constexpr Indices kTriples[3] = {interleaved(3, 0), interleaved(3, 1), interleaved(3, 2)};
// 3 words of each of 4 lanes together, and back.
constexpr Indices kClose = {{0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15}};
constexpr Indices kOpen = {{0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11}};

struct Avx512Lanes {
    using Lanes = Avx512Lanes;
    static constexpr int kLanes = 16;
    using Floats = __m512;
    using Bits = __m512i;

    static REPSR_INLINE Floats floats(float value) { return _mm512_set1_ps(value); }
    static REPSR_INLINE Floats load_floats(const float* from) { return _mm512_loadu_ps(from); }
    static REPSR_INLINE Floats load_floats(const float* from, int count) {
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
    }
    static REPSR_INLINE void store_bits(void* to, Bits bits) { _mm512_storeu_si512(to, bits); }
    static REPSR_INLINE Bits bits(Floats value) { return _mm512_castps_si512(value); }
    static REPSR_INLINE Floats multiply_add_floats(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    static REPSR_INLINE Floats product(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static REPSR_INLINE Floats activate(Floats value, Floats slope) {
        return _mm512_mask_mul_ps(value, _mm512_movepi32_mask(_mm512_castps_si512(value)), value, slope);
    }
    static REPSR_INLINE Floats lower(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    static REPSR_INLINE Floats upper(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    static REPSR_INLINE bool any_nan(Floats value) { return _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q) != 0; }
    static REPSR_INLINE Bits rgb(Floats r, Floats g, Floats b) {
        return _mm512_ternarylogic_epi32(_mm512_cvtps_epi32(r), _mm512_slli_epi32(_mm512_cvtps_epi32(g), 8),
                                         _mm512_slli_epi32(_mm512_cvtps_epi32(b), 16), 0xfe);  // or
    }
    static REPSR_INLINE Bits rounded(Floats y) { return _mm512_cvtps_epi32(y); }
    static REPSR_INLINE void interleave(Bits (&words)[2]) {
        const Bits first = words[0];
        words[0] = _mm512_permutex2var_epi32(first, kPairs[0].load(), words[1]);
        words[1] = _mm512_permutex2var_epi32(first, kPairs[1].load(), words[1]);
    }
    static REPSR_INLINE void interleave(Bits (&words)[3]) {
        const Bits first = words[0], second = words[1], third = words[2];
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
            const Bits index = kTriples[k].load();
            const Bits two = _mm512_permutex2var_epi32(first, index, second);
            words[k] = _mm512_mask_permutexvar_epi32(two, third_of(k), index, third);
        }
    }
    static REPSR_INLINE void store_rgb(uint8_t* to, Bits words) {
        const __m128i lane = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
        const Bits shuffled = _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(lane));
        const Bits close = _mm512_permutexvar_epi32(kClose.load(), shuffled);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(close));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 32), _mm512_extracti32x4_epi32(close, 2));
    }
    static REPSR_INLINE void store_luma(uint8_t* to, Bits words) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(words));
    }
    static REPSR_INLINE Bits load_rgb(const uint8_t* from) {
        const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 32));
        const Bits close = _mm512_inserti32x4(_mm512_castsi256_si512(low), high, 2);
        const __m128i lane = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
        return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(kOpen.load(), close), _mm512_broadcast_i32x4(lane));
    }
    static REPSR_INLINE Bits load_luma(const uint8_t* from) {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    static REPSR_INLINE Floats byte(Bits words, int index) {
        const Bits shifted = _mm512_srl_epi32(words, _mm_cvtsi32_si128(8 * index));
        return _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(255)));
    }
    template <class V>
    static REPSR_INLINE void hold(V& vector) {
        asm volatile("" : "+v"(vector));
    }
};

struct Avx512Floats : Avx512Lanes {
    static constexpr Words kWords = Words::floats;
    static constexpr int kGroup = 1, kOffset = 0, kCodeBits = 0, kBlock = 8, kVectors = 3;
    using Pixels = __m512;
    using Sums = __m512;
    struct Rounding {
        Rounding(int32_t, int32_t, int32_t) {}
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) { return _mm512_loadu_ps(words); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) {
        return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(*word)));
    }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = _mm512_fmadd_ps(pixels, weights, sums);
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[1], const Rounding&) {
        store_bits(out, bits(channels[0]));
    }
};

// What sums of codes have in common.
struct Avx512Codes : Avx512Lanes {
    static constexpr Words kWords = Words::codes;
    static constexpr int kBlock = 8, kVectors = 3;
    using Pixels = __m512i;
    using Sums = __m512i;

    static REPSR_INLINE Pixels load(const uint32_t* words) { return _mm512_loadu_si512(words); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return _mm512_set1_epi32(static_cast<int>(*word)); }
    static REPSR_INLINE Sums start(const Packed& layer, int output) {
        return _mm512_set1_epi32(layer.start[output]);
    }
    static REPSR_INLINE Floats value(Sums sums, const Packed& layer, int output) {
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), floats(layer.gain[output]), floats(layer.bias[output]));
    }
    // In each lane of 128 bits 4 numbers of `even`, then 4 of `odd`, of 16 bits and with the zero point.
    static REPSR_INLINE __m512i pack(Floats even, Floats odd, __m512i zero) {
        return _mm512_adds_epi16(_mm512_packs_epi32(_mm512_cvtps_epi32(even), _mm512_cvtps_epi32(odd)), zero);
    }
};

// Codes of 16 bits.
struct Avx512WideCodes : Avx512Codes {
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 16;
    struct Rounding {
        __m512i zero, low, high, together;
        REPSR_INLINE Rounding(int32_t zero_code, int32_t low_code, int32_t high_code)
            : zero(_mm512_set1_epi16(static_cast<short>(zero_code))),
              low(_mm512_set1_epi16(static_cast<short>(low_code))),
              high(_mm512_set1_epi16(static_cast<short>(high_code))),
              together(_mm512_broadcast_i32x4(
                  _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15))) {}
    };

    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = _mm512_add_epi32(sums, _mm512_madd_epi16(pixels, weights));
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding& rounding) {
        const __m512i packed = pack(channels[0], channels[1], rounding.zero);
        const __m512i codes = _mm512_min_epi16(_mm512_max_epi16(packed, rounding.low), rounding.high);
        store_bits(out, _mm512_shuffle_epi8(codes, rounding.together));
    }
};

#if defined(__AVX512VNNI__)
// Codes of 8 bits, without sign where pixels are and with one where weights are.
struct Avx512NarrowCodes : Avx512Codes {
    static constexpr int kGroup = 4, kOffset = 128, kCodeBits = 8;
    struct Rounding {
        __m512i zero, low, high, together;
        REPSR_INLINE Rounding(int32_t zero_code, int32_t low_code, int32_t high_code)
            : zero(_mm512_set1_epi16(static_cast<short>(zero_code))),
              low(_mm512_set1_epi8(static_cast<char>(low_code))),
              high(_mm512_set1_epi8(static_cast<char>(high_code))),
              together(_mm512_broadcast_i32x4(
                  _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))) {}
    };

    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
#if defined(__clang__)
        sums = _mm512_dpbusd_epi32(sums, pixels, weights);
#else  // g++ 12 copies the sums around the intrinsic
        asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(pixels), "v"(weights));
#endif
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[4], const Rounding& rounding) {
        const __m512i packed = _mm512_packus_epi16(pack(channels[0], channels[1], rounding.zero),
                                                   pack(channels[2], channels[3], rounding.zero));
        const __m512i codes = _mm512_min_epu8(_mm512_max_epu8(packed, rounding.low), rounding.high);
        store_bits(out, _mm512_shuffle_epi8(codes, rounding.together));
    }
};
#endif

#if defined(__AVX512BF16__)
// The instruction takes denormal numbers for 0 and rounds half to even (Intel 64 and IA-32 Architectures Software
// Developer's Manual, VDPBF16PS); so does the conversion.
struct Avx512Halves : Avx512Lanes {
    static constexpr Words kWords = Words::halves;
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 0, kBlock = 8, kVectors = 3;
    using Pixels = __m512i;
    using Sums = __m512;
    struct Rounding {
        __m512i mixed;  // index 0, 16, 1, 17, ...
        REPSR_INLINE Rounding(int32_t, int32_t, int32_t) {
            const __m512i even = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            mixed = _mm512_or_si512(even, _mm512_slli_epi32(_mm512_add_epi32(even, _mm512_set1_epi32(16)), 16));
        }
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) { return _mm512_loadu_si512(words); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return _mm512_set1_epi32(static_cast<int>(*word)); }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(pixels), reinterpret_cast<__m512bh>(weights));
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding& rounding) {
        const __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(channels[1], channels[0]));
        store_bits(out, _mm512_permutexvar_epi16(rounding.mixed, halves));
    }
};
#endif

}  // namespace
}  // namespace repsr::cpu
