// Types of numbers for AArch64: vectors of 4 words in 32 registers. Blocks of 4 x 5 sums leave registers for what is
// loaded for 20 multiply-adds, 4 words of weights and 5 vectors, in whatever order the compiler does that.
#pragma once

#include <arm_neon.h>
#include <cstring>

#include "convolution.hpp"

namespace repsr::cpu {
namespace {

struct NeonLanes {
    using Lanes = NeonLanes;
    static constexpr int kLanes = 4;
    using Floats = float32x4_t;
    using Bits = uint32x4_t;

    static REPSR_INLINE Bits load_bits(const void* from) {
        return vreinterpretq_u32_u8(vld1q_u8(static_cast<const uint8_t*>(from)));
    }
    // A word in lane 0: a multiply-add takes one lane for all, where spreading it would cost the unit that multiplies.
    static REPSR_INLINE Bits load_lane(const uint32_t* word) {
        Bits lane;
        asm("ldr %s0, %1" : "=w"(lane) : "m"(*word));
        return lane;
    }
    static REPSR_INLINE Floats floats(float value) { return vdupq_n_f32(value); }
    static REPSR_INLINE Floats load_floats(const float* from) { return vld1q_f32(from); }
    static REPSR_INLINE Floats load_floats(const float* from, int count) {
        float values[kLanes] = {};
        for (int k = 0; k < count; ++k) values[k] = from[k];
        return vld1q_f32(values);
    }
    static REPSR_INLINE void store_bits(void* to, Bits bits) {
        vst1q_u8(static_cast<uint8_t*>(to), vreinterpretq_u8_u32(bits));
    }
    static REPSR_INLINE Bits bits(Floats value) { return vreinterpretq_u32_f32(value); }

    static REPSR_INLINE Floats multiply_add_floats(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
    static REPSR_INLINE Floats product(Floats a, Floats b) { return vmulq_f32(a, b); }
    static REPSR_INLINE Floats activate(Floats value, Floats slope) {
        const int32x4_t below = vshrq_n_s32(vreinterpretq_s32_f32(value), 31);
        return vbslq_f32(vreinterpretq_u32_s32(below), vmulq_f32(value, slope), value);
    }
    static REPSR_INLINE Floats lower(Floats a, Floats b) { return vminnmq_f32(a, b); }
    static REPSR_INLINE Floats upper(Floats a, Floats b) { return vmaxnmq_f32(a, b); }
    static REPSR_INLINE bool any_nan(Floats value) { return vminvq_u32(vceqq_f32(value, value)) == 0; }

    static REPSR_INLINE Bits rounded(Floats value) { return vreinterpretq_u32_s32(vcvtnq_s32_f32(value)); }
    static REPSR_INLINE Bits rgb(Floats r, Floats g, Floats b) {
        return vsliq_n_u32(vsliq_n_u32(rounded(r), rounded(g), 8), rounded(b), 16);
    }
    static REPSR_INLINE void interleave(Bits (&words)[2]) {
        const Bits first = vzip1q_u32(words[0], words[1]), second = vzip2q_u32(words[0], words[1]);
        words[0] = first, words[1] = second;
    }
    static REPSR_INLINE void interleave(Bits (&words)[3]) {
        uint32_t mixed[3 * kLanes];
        vst3q_u32(mixed, (uint32x4x3_t{{words[0], words[1], words[2]}}));
        for (int k = 0; k < 3; ++k) words[k] = vld1q_u32(mixed + k * kLanes);
    }

    // Bytes of a vector by their places; 255 gives 0.
    static REPSR_INLINE Bits shuffle(Bits words, const uint8_t (&places)[16]) {
        return vreinterpretq_u32_u8(vqtbl1q_u8(vreinterpretq_u8_u32(words), vld1q_u8(places)));
    }
    static REPSR_INLINE void store_rgb(uint8_t* to, Bits words) {
        static constexpr uint8_t kPlaces[16] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 255, 255, 255, 255};
        const Bits packed = shuffle(words, kPlaces);
        const uint32_t last = vgetq_lane_u32(packed, 2);
        vst1_u8(to, vget_low_u8(vreinterpretq_u8_u32(packed)));
        memcpy(to + 8, &last, sizeof last);
    }
    static REPSR_INLINE void store_luma(uint8_t* to, Bits words) {
        const uint8x8_t bytes = vmovn_u16(vcombine_u16(vmovn_u32(words), vdup_n_u16(0)));
        const uint32_t packed = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
        memcpy(to, &packed, sizeof packed);
    }
    static REPSR_INLINE Bits load_rgb(const uint8_t* from) {
        static constexpr uint8_t kPlaces[16] = {0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11, 255};
        uint32_t last;
        memcpy(&last, from + 8, sizeof last);
        const uint32x2_t first = vreinterpret_u32_u8(vld1_u8(from));
        return shuffle(vcombine_u32(first, vdup_n_u32(last)), kPlaces);
    }
    static REPSR_INLINE Bits load_luma(const uint8_t* from) {
        static constexpr uint8_t kPlaces[16] = {0, 255, 255, 255, 1, 255, 255, 255, 2, 255, 255, 255, 3, 255, 255, 255};
        uint32_t all;
        memcpy(&all, from, sizeof all);
        return shuffle(vdupq_n_u32(all), kPlaces);
    }
    static REPSR_INLINE Floats byte(Bits words, int index) {
        return vcvtq_f32_u32(vandq_u32(vshlq_u32(words, vdupq_n_s32(-8 * index)), vdupq_n_u32(255)));
    }
    template <class V>
    static REPSR_INLINE void hold(V& vector) {
        asm volatile("" : "+w"(vector));
    }
};

struct NeonFloats : NeonLanes {
    static constexpr Words kWords = Words::floats;
    static constexpr int kGroup = 1, kOffset = 0, kCodeBits = 0, kBlock = 4, kVectors = 5;
    using Pixels = Floats;
    using Sums = Floats;
    struct Rounding {
        Rounding(int32_t, int32_t, int32_t) {}
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) { return vreinterpretq_f32_u32(load_bits(words)); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return vreinterpretq_f32_u32(load_lane(word)); }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = vfmaq_laneq_f32(sums, pixels, weights, 0);
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[1], const Rounding&) {
        store_bits(out, bits(channels[0]));
    }
};

// What codes of either width share: their sums, and how a value becomes one.
struct NeonCodeLanes : NeonLanes {
    static constexpr Words kWords = Words::codes;
    using Sums = int32x4_t;
    struct Rounding {
        int32x4_t zero, low, high;
        Rounding(int32_t zero_code, int32_t lowest, int32_t highest)
            : zero(vdupq_n_s32(zero_code)), low(vdupq_n_s32(lowest)), high(vdupq_n_s32(highest)) {}
    };

    static REPSR_INLINE Sums start(const Packed& layer, int output) {
        return vdupq_n_s32(layer.start[output]);
    }
    static REPSR_INLINE Floats value(Sums sums, const Packed& layer, int output) {
        return vfmaq_f32(floats(layer.bias[output]), vcvtq_f32_s32(sums), floats(layer.gain[output]));
    }
    // Saturating: a value below all integers stays below all codes when a zero below 0 is added.
    static REPSR_INLINE Bits code(Floats value, const Rounding& rounding) {
        const int32x4_t whole = vqaddq_s32(vcvtnq_s32_f32(value), rounding.zero);
        return vreinterpretq_u32_s32(vminq_s32(vmaxq_s32(whole, rounding.low), rounding.high));
    }
};

// Two codes of 16 bits in a word: for processors without dot products.
struct NeonWideCodes : NeonCodeLanes {
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 16, kBlock = 4, kVectors = 3;
    struct Pixels {
        int16x4_t even, odd;
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) {
        const int16x8_t both = vreinterpretq_s16_u32(load_bits(words));
        return {vget_low_s16(vuzp1q_s16(both, both)), vget_low_s16(vuzp2q_s16(both, both))};
    }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) {
        const int16x4_t both = vget_low_s16(vreinterpretq_s16_u32(load_lane(word)));
        return {both, both};
    }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = vmlal_lane_s16(vmlal_lane_s16(sums, pixels.even, weights.even, 0), pixels.odd, weights.odd, 1);
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding& rounding) {
        store_bits(out, vsliq_n_u32(code(channels[0], rounding), code(channels[1], rounding), 16));
    }
    using NeonLanes::hold;
    static REPSR_INLINE void hold(Pixels& pixels) { asm volatile("" : "+w"(pixels.even), "+w"(pixels.odd)); }
};

#if defined(__ARM_FEATURE_DOTPROD)
// Four codes of 8 bits in a word, signed as `sdot` takes them.
struct NeonCodes : NeonCodeLanes {
    static constexpr int kGroup = 4, kOffset = 0, kCodeBits = 8, kBlock = 4, kVectors = 5;
    using Pixels = int8x16_t;

    static REPSR_INLINE Pixels load(const uint32_t* words) { return vreinterpretq_s8_u32(load_bits(words)); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return vreinterpretq_s8_u32(load_lane(word)); }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = vdotq_laneq_s32(sums, pixels, weights, 0);
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[4], const Rounding& rounding) {
        const Bits lower = vsliq_n_u32(code(channels[0], rounding), code(channels[1], rounding), 8);
        const Bits upper = vsliq_n_u32(code(channels[2], rounding), code(channels[3], rounding), 8);
        store_bits(out, vsliq_n_u32(lower, upper, 16));
    }
};
#endif

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
// Two numbers of bf16 in a word.
struct NeonHalves : NeonLanes {
    static constexpr Words kWords = Words::halves;
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 0, kBlock = 4, kVectors = 5;
    using Pixels = bfloat16x8_t;
    using Sums = Floats;
    struct Rounding {
        Rounding(int32_t, int32_t, int32_t) {}
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) { return vreinterpretq_bf16_u32(load_bits(words)); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) { return vreinterpretq_bf16_u32(load_lane(word)); }
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        sums = vbfdotq_laneq_f32(sums, pixels, weights, 0);
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE uint16x8_t halves(Floats value) { return vreinterpretq_u16_bf16(vcvtq_low_bf16_f32(value)); }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding&) {
        store_bits(out, vreinterpretq_u32_u16(vzip1q_u16(halves(channels[0]), halves(channels[1]))));
    }
};
#endif

}  // namespace
}  // namespace repsr::cpu
