// Types of numbers for AVX2 and FMA, and what AVX-VNNI adds to them: vectors of 8 words.
#pragma once

#include <immintrin.h>

#include "convolution.hpp"

namespace repsr::cpu {
namespace {

struct Avx2Lanes {
    using Lanes = Avx2Lanes;
    static constexpr int kLanes = 8;
    using Floats = __m256;
    using Bits = __m256i;

    static REPSR_INLINE Floats floats(float value) { return _mm256_set1_ps(value); }
    static REPSR_INLINE Floats load_floats(const float* from) { return _mm256_loadu_ps(from); }
    static REPSR_INLINE Floats load_floats(const float* from, int count) {
        const Bits lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes));
    }
    static REPSR_INLINE void store_bits(void* to, Bits bits) { _mm256_storeu_si256(static_cast<__m256i*>(to), bits); }
    static REPSR_INLINE Bits bits(Floats value) { return _mm256_castps_si256(value); }
    static REPSR_INLINE Floats multiply_add_floats(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    static REPSR_INLINE Floats product(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static REPSR_INLINE Floats activate(Floats value, Floats slope) {
        return _mm256_blendv_ps(value, _mm256_mul_ps(value, slope), value);
    }
    static REPSR_INLINE Floats lower(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static REPSR_INLINE Floats upper(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static REPSR_INLINE bool any_nan(Floats value) {
        return _mm256_movemask_ps(_mm256_cmp_ps(value, value, _CMP_UNORD_Q)) != 0;
    }
    static REPSR_INLINE Bits rgb(Floats r, Floats g, Floats b) {
        const Bits green = _mm256_slli_epi32(_mm256_cvtps_epi32(g), 8);
        const Bits blue = _mm256_slli_epi32(_mm256_cvtps_epi32(b), 16);
        return _mm256_or_si256(_mm256_cvtps_epi32(r), _mm256_or_si256(green, blue));
    }
    static REPSR_INLINE Bits rounded(Floats y) { return _mm256_cvtps_epi32(y); }
    static REPSR_INLINE void interleave(Bits (&words)[2]) {
        const Bits low = _mm256_unpacklo_epi32(words[0], words[1]), high = _mm256_unpackhi_epi32(words[0], words[1]);
        words[0] = _mm256_permute2x128_si256(low, high, 0x20);
        words[1] = _mm256_permute2x128_si256(low, high, 0x31);
    }
    static REPSR_INLINE void interleave(Bits (&words)[3]) {
        const Bits a = words[0], b = words[1], c = words[2];
        const auto mix = [](Bits index, Bits x, Bits y, Bits z) __attribute__((always_inline)) {  // x y z x y z x y
            const Bits xy = _mm256_blend_epi32(_mm256_permutevar8x32_epi32(x, index),
                                               _mm256_permutevar8x32_epi32(y, index), 0x92);
            return _mm256_blend_epi32(xy, _mm256_permutevar8x32_epi32(z, index), 0x24);
        };
        words[0] = mix(_mm256_setr_epi32(0, 0, 0, 1, 1, 1, 2, 2), a, b, c);
        words[1] = mix(_mm256_setr_epi32(2, 3, 3, 3, 4, 4, 4, 5), c, a, b);
        words[2] = mix(_mm256_setr_epi32(5, 5, 6, 6, 6, 7, 7, 7), b, c, a);
    }
    static REPSR_INLINE void store_rgb(uint8_t* to, Bits words) {
        const __m128i lane = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
        const Bits close = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(lane)),
                                                       _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(close));
        _mm_storeu_si64(to + 16, _mm256_extracti128_si256(close, 1));
    }
    static REPSR_INLINE void store_luma(uint8_t* to, Bits words) {
        const __m128i pairs = _mm_packs_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si64(to, _mm_packus_epi16(pairs, pairs));
    }
    static REPSR_INLINE Bits load_rgb(const uint8_t* from) {
        const Bits close = _mm256_set_m128i(_mm_loadu_si64(from + 16),
                                            _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
        const Bits open = _mm256_permutevar8x32_epi32(close, _mm256_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5));
        const __m128i lane = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
        return _mm256_shuffle_epi8(open, _mm256_broadcastsi128_si256(lane));
    }
    static REPSR_INLINE Bits load_luma(const uint8_t* from) { return _mm256_cvtepu8_epi32(_mm_loadu_si64(from)); }
    static REPSR_INLINE Floats byte(Bits words, int index) {
        const Bits shifted = _mm256_srl_epi32(words, _mm_cvtsi32_si128(8 * index));
        return _mm256_cvtepi32_ps(_mm256_and_si256(shifted, _mm256_set1_epi32(255)));
    }
    template <class V>
    static REPSR_INLINE void hold(V& vector) {
        asm volatile("" : "+x"(vector));
    }
};

struct Avx2Floats : Avx2Lanes {
    static constexpr Words kWords = Words::floats;
    static constexpr int kGroup = 1, kOffset = 0, kCodeBits = 0, kBlock = 4, kVectors = 3;
    using Pixels = __m256;
    using Sums = __m256;
    struct Rounding {
        Rounding(int32_t, int32_t, int32_t) {}
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) {
        return _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
    }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) {
        return _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(*word)));
    }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = _mm256_fmadd_ps(pixels, weights, sums);
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[1], const Rounding&) {
        store_bits(out, bits(channels[0]));
    }
};

// What sums of codes have in common.
struct Avx2Codes : Avx2Lanes {
    static constexpr Words kWords = Words::codes;
    using Pixels = __m256i;
    using Sums = __m256i;

    static REPSR_INLINE Pixels load(const uint32_t* words) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
    }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return _mm256_set1_epi32(static_cast<int>(*word)); }
    static REPSR_INLINE Sums start(const Packed& layer, int output) {
        return _mm256_set1_epi32(layer.start[output]);
    }
    static REPSR_INLINE Floats value(Sums sums, const Packed& layer, int output) {
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), floats(layer.gain[output]), floats(layer.bias[output]));
    }
    // In each lane of 128 bits 4 numbers of `even`, then 4 of `odd`, of 16 bits and with the zero point.
    static REPSR_INLINE __m256i pack(Floats even, Floats odd, __m256i zero) {
        return _mm256_adds_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(even), _mm256_cvtps_epi32(odd)), zero);
    }
};

// Codes of 16 bits. Two instructions for a product: it waits for the second one only, so that 8 sums are enough, and
// leave registers for the first one.
struct Avx2WideCodes : Avx2Codes {
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 16, kBlock = 4, kVectors = 2;
    struct Rounding {
        __m256i zero, low, high, together;
        REPSR_INLINE Rounding(int32_t zero_code, int32_t low_code, int32_t high_code)
            : zero(_mm256_set1_epi16(static_cast<short>(zero_code))),
              low(_mm256_set1_epi16(static_cast<short>(low_code))),
              high(_mm256_set1_epi16(static_cast<short>(high_code))),
              together(_mm256_broadcastsi128_si256(
                  _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15))) {}
    };

    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pixels, weights));
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding& rounding) {
        const __m256i packed = pack(channels[0], channels[1], rounding.zero);
        const __m256i codes = _mm256_min_epi16(_mm256_max_epi16(packed, rounding.low), rounding.high);
        store_bits(out, _mm256_shuffle_epi8(codes, rounding.together));
    }
};

#if defined(__AVXVNNI__)
// Codes of 8 bits, without sign where pixels are and with one where weights are.
struct Avx2NarrowCodes : Avx2Codes {
    static constexpr int kGroup = 4, kOffset = 128, kCodeBits = 8, kBlock = 4, kVectors = 3;
    struct Rounding {
        __m256i zero, low, high, together;
        REPSR_INLINE Rounding(int32_t zero_code, int32_t low_code, int32_t high_code)
            : zero(_mm256_set1_epi16(static_cast<short>(zero_code))),
              low(_mm256_set1_epi8(static_cast<char>(low_code))),
              high(_mm256_set1_epi8(static_cast<char>(high_code))),
              together(_mm256_broadcastsi128_si256(
                  _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15))) {}
    };

    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
#if defined(__clang__)
        sums = _mm256_dpbusd_avx_epi32(sums, pixels, weights);
#else  // g++ 12 copies the sums around the intrinsic
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(pixels), "x"(weights));
#endif
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[4], const Rounding& rounding) {
        const __m256i packed = _mm256_packus_epi16(pack(channels[0], channels[1], rounding.zero),
                                                   pack(channels[2], channels[3], rounding.zero));
        const __m256i codes = _mm256_min_epu8(_mm256_max_epu8(packed, rounding.low), rounding.high);
        store_bits(out, _mm256_shuffle_epi8(codes, rounding.together));
    }
};
#endif

}  // namespace
}  // namespace repsr::cpu
