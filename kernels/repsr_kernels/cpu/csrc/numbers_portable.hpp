// Types of numbers for any processor: vectors as the compiler has them, of 4 words.
#pragma once

#include <cstring>

#include "convolution.hpp"

namespace repsr::cpu {
namespace {

struct PortableLanes {
    using Lanes = PortableLanes;
    static constexpr int kLanes = 4;
    typedef float Floats __attribute__((vector_size(16)));
    typedef double Doubles __attribute__((vector_size(32)));
    typedef int32_t Ints __attribute__((vector_size(16)));
    typedef int64_t Longs __attribute__((vector_size(32)));
    typedef uint64_t ULongs __attribute__((vector_size(32)));
    typedef uint32_t Bits __attribute__((vector_size(16)));

    template <class V>
    static REPSR_INLINE V load_as(const void* from) {
        V vector;
        memcpy(&vector, from, sizeof vector);
        return vector;
    }
    static REPSR_INLINE Floats floats(float value) { return Floats{value, value, value, value}; }
    static REPSR_INLINE Floats load_floats(const float* from) { return load_as<Floats>(from); }
    static REPSR_INLINE Floats load_floats(const float* from, int count) {
        Floats vector = {};
        for (int k = 0; k < count; ++k) vector[k] = from[k];
        return vector;
    }
    static REPSR_INLINE void store_bits(void* to, Bits bits) { memcpy(to, &bits, sizeof bits); }
    static REPSR_INLINE Bits bits(Floats value) { return reinterpret_cast<Bits>(value); }

#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__)
    static REPSR_INLINE Floats multiply_add_floats(Floats a, Floats b, Floats c) {
        for (int k = 0; k < kLanes; ++k) c[k] = __builtin_fmaf(a[k], b[k], c[k]);
        return c;
    }
#else
    // Where the processor has none, the C library's takes a hundred times as long. A product of floats is exact in
    // double. The sum is rounded to odd (the last bit says that something was cut off), so that rounding it to float
    // is as if it were exact (S. Boldo, G. Melquiond: Emulation of FMA and correctly rounded sums, 2008).
    static REPSR_INLINE Floats multiply_add_floats(Floats a, Floats b, Floats c) {
        const Doubles product = __builtin_convertvector(a, Doubles) * __builtin_convertvector(b, Doubles);
        const Doubles addend = __builtin_convertvector(c, Doubles);
        const Doubles sum = product + addend, of_product = sum - addend;
        const Doubles cut = (product - of_product) + (addend - (sum - of_product));
        const Longs bits = reinterpret_cast<Longs>(sum), cuts = (cut < 0) | (cut > 0);
        const ULongs opposite = reinterpret_cast<ULongs>(bits ^ reinterpret_cast<Longs>(cut)) >> 63;
        const Longs even = (bits & 1) - 1;  // all bits, or none
        const Longs odd = bits + (cuts & even & (1 - 2 * reinterpret_cast<Longs>(opposite)));
        return __builtin_convertvector(reinterpret_cast<Doubles>(odd), Floats);
    }
#endif
    static REPSR_INLINE Floats product(Floats a, Floats b) { return a * b; }
    static REPSR_INLINE Floats activate(Floats value, Floats slope) {
        const Ints below = reinterpret_cast<Ints>(value) >> 31;
        const Ints product = reinterpret_cast<Ints>(value * slope);
        return reinterpret_cast<Floats>((product & below) | (reinterpret_cast<Ints>(value) & ~below));
    }
    static REPSR_INLINE Floats choose(Ints where, Floats a, Floats b) {
        return reinterpret_cast<Floats>((reinterpret_cast<Ints>(a) & where) | (reinterpret_cast<Ints>(b) & ~where));
    }
    static REPSR_INLINE Floats lower(Floats a, Floats b) { return choose(a < b, a, b); }
    static REPSR_INLINE Floats upper(Floats a, Floats b) { return choose(a > b, a, b); }
    static REPSR_INLINE bool any_nan(Floats value) {
        const Ints nan = value != value;
        return (nan[0] | nan[1] | nan[2] | nan[3]) != 0;
    }
    // Values of less than 2^22: there the last bit of value + 1.5 * 2^23 stands for 1.
    static REPSR_INLINE Ints to_ints(Floats value) {
        const Floats shift = floats(0x1.8p23f);
        return reinterpret_cast<Ints>(value + shift) - reinterpret_cast<Ints>(shift);
    }
    static REPSR_INLINE Bits rgb(Floats r, Floats g, Floats b) {
        return reinterpret_cast<Bits>(to_ints(r) | to_ints(g) << 8 | to_ints(b) << 16);
    }
    static REPSR_INLINE Bits rounded(Floats y) { return reinterpret_cast<Bits>(to_ints(y)); }
    template <int kCount>
    static REPSR_INLINE void interleave(Bits (&words)[kCount]) {
        uint32_t mixed[kCount * kLanes];
        for (int k = 0; k < kCount * kLanes; ++k) mixed[k] = words[k % kCount][k / kCount];
        memcpy(words, mixed, sizeof mixed);
    }
    static REPSR_INLINE void store_rgb(uint8_t* to, Bits words) {
        for (int k = 0; k < kLanes; ++k) {
            for (int c = 0; c < 3; ++c) to[3 * k + c] = static_cast<uint8_t>(words[k] >> 8 * c);
        }
    }
    static REPSR_INLINE void store_luma(uint8_t* to, Bits words) {
        for (int k = 0; k < kLanes; ++k) to[k] = static_cast<uint8_t>(words[k]);
    }
    static REPSR_INLINE Bits load_rgb(const uint8_t* from) {
        Bits words = {};
        for (int k = 0; k < kLanes; ++k) {
            for (int c = 0; c < 3; ++c) words[k] |= static_cast<uint32_t>(from[3 * k + c]) << 8 * c;
        }
        return words;
    }
    static REPSR_INLINE Bits load_luma(const uint8_t* from) { return Bits{from[0], from[1], from[2], from[3]}; }
    static REPSR_INLINE Floats byte(Bits words, int index) {
        return __builtin_convertvector(reinterpret_cast<Ints>(words >> 8 * index & 255), Floats);
    }
    template <class V>
    static REPSR_INLINE void hold(V& vector) {
        asm volatile("" : "+m"(vector));
    }
};

struct PortableFloats : PortableLanes {
    static constexpr Words kWords = Words::floats;
    static constexpr int kGroup = 1, kOffset = 0, kCodeBits = 0, kBlock = 4, kVectors = 2;
    using Pixels = Floats;
    using Sums = Floats;
    struct Rounding {
        Rounding(int32_t, int32_t, int32_t) {}
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) { return load_as<Pixels>(words); }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) {
        float weight;
        memcpy(&weight, word, sizeof weight);
        return floats(weight);
    }
    // Two roundings, as a fused one takes fifteen times as long where the processor has none.
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) { sums += pixels * weights; }
    static REPSR_INLINE Sums start(const Packed& layer, int output) { return floats(layer.bias[output]); }
    static REPSR_INLINE Floats value(Sums sums, const Packed&, int) { return sums; }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[1], const Rounding&) {
        store_bits(out, bits(channels[0]));
    }
};

// Two codes of 16 bits in a word.
struct PortableCodes : PortableLanes {
    static constexpr Words kWords = Words::codes;
    static constexpr int kGroup = 2, kOffset = 0, kCodeBits = 16, kBlock = 4, kVectors = 2;
    using Sums = Ints;
    struct Pixels {
        Ints even, odd;
    };
    struct Rounding {
        int32_t zero, low, high;
    };

    static REPSR_INLINE Pixels load(const uint32_t* words) {
        const Bits both = load_as<Bits>(words);
        return {reinterpret_cast<Ints>(both << 16) >> 16, reinterpret_cast<Ints>(both) >> 16};
    }
    static REPSR_INLINE Pixels broadcast(const uint32_t* word) {
        const Bits both = {*word, *word, *word, *word};
        return {reinterpret_cast<Ints>(both << 16) >> 16, reinterpret_cast<Ints>(both) >> 16};
    }
    // Without signs, as slack words, which may be anything, could leave 32 bits.
    static REPSR_INLINE void multiply_add(Sums& sums, Pixels pixels, Pixels weights) {
        const auto product = [](Ints a, Ints b) { return reinterpret_cast<Bits>(a) * reinterpret_cast<Bits>(b); };
        const Bits sum = product(pixels.even, weights.even) + product(pixels.odd, weights.odd);
        sums = reinterpret_cast<Sums>(reinterpret_cast<Bits>(sums) + sum);
    }
    static REPSR_INLINE Sums start(const Packed& layer, int output) {
        return Sums{} + layer.start[output];
    }
    static REPSR_INLINE Floats value(Sums sums, const Packed& layer, int output) {
        return multiply_add_floats(__builtin_convertvector(sums, Floats), floats(layer.gain[output]),
                                   floats(layer.bias[output]));
    }
    static REPSR_INLINE Ints code(Floats value, const Rounding& rounding) {
        const Floats bound = floats(1 << 20);
        const Ints rounded = to_ints(upper(lower(value, bound), -bound)) + rounding.zero;
        const Ints low = Ints{} + rounding.low, high = Ints{} + rounding.high;
        const Ints over = rounded > high, under = rounded < low;
        return (rounded & ~over & ~under) | (high & over) | (low & under);
    }
    static REPSR_INLINE void store(uint32_t* out, const Floats (&channels)[2], const Rounding& rounding) {
        const Ints even = code(channels[0], rounding), odd = code(channels[1], rounding);
        store_bits(out, reinterpret_cast<Bits>(even & 0xffff) | reinterpret_cast<Bits>(odd << 16));
    }
};

}  // namespace
}  // namespace repsr::cpu
