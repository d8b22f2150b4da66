// A row of a convolution of 3x3: blocks of outputs x vectors of pixels, whose sums stay in registers, over any type of
// numbers.
//
// A type of numbers N is a struct of static members, all inlined, of one instruction set (`numbers_*.hpp`):
//
//   Words kWords; int kGroup         what a word of a row is, and how many channels it holds
//   int kOffset, kCodeBits           as in Arithmetic
//   int kBlock, kVectors             outputs x vectors of pixels whose sums fit into the registers
//   Pixels, Sums                     kLanes words of neighbouring pixels; as many sums
//   Pixels load(const uint32_t*)     of any alignment
//   Pixels broadcast(const uint32_t*)     one word of weights, in every lane
//   void multiply_add(Sums&, Pixels, Pixels weights)
//   Sums start(const Packed&, int output)           what a sum begins with
//   Floats value(Sums, const Packed&, int output)   a whole sum, before the activation
//   Rounding(zero, low, high)        what `store` needs to know, once for a row
//   void store(uint32_t* out, const Floats (&channels)[kGroup], const Rounding&)   channels to words; codes: of values
//                                    below 2^30, rounded half to even and clamped as Packed says
//
// and it inherits what its instruction set does with floats:
//
//   Lanes                            this set of operations
//   int kLanes; Floats               so many floats
//   Bits                             so many words of 32 bits
//   Floats floats(float)             in every lane
//   Floats load_floats(const float*), load_floats(const float*, int count)   of any alignment; the second one reads
//                                    exactly the first `count` of them, and gives 0 for the others
//   void store_bits(void*, Bits); Bits bits(Floats)     bits(): the same bits
//   Floats multiply_add_floats(a, b, c), product(a, b)    a * b + c in one rounding; a * b
//   Floats activate(value, slope)    where the sign is set slope * value, else value
//   Floats lower(a, b), upper(a, b)  of finite ones the lower or upper one
//   bool any_nan(Floats)
//   Bits rgb(r, g, b); Bits rounded(y)     0..255 rounded half to even, in the bytes of a word from the lowest on
//   void interleave(Bits (&)[2 or 3])      a0 b0 (c0) a1 b1 ..., over all of them
//   void store_rgb(uint8_t*, Bits), store_luma(uint8_t*, Bits)    the lowest 3 bytes, or 1, of each word, and no more
//   Bits load_rgb(const uint8_t*), load_luma(const uint8_t*)      the reverse; the bytes above are 0
//   Floats byte(Bits, int index)     byte `index` of each word
//   void hold(V&)                    no instruction: a Pixels or Sums is in registers here, whatever it may be
//
// The sum of an output has one order, whatever the blocks and the vectors: start, then rows, columns, groups.
#pragma once

#include <cstdint>

#include "kernels.hpp"

#define REPSR_INLINE inline __attribute__((always_inline))

namespace repsr::cpu {
namespace {

// Adds the products of kBlock outputs at the pixels from x on. `weights`: [9 taps][groups][kBlock].
template <class N, int kBlock, int kVectors>
REPSR_INLINE void accumulate(typename N::Sums (&sums)[kBlock][kVectors], const Source& source, int64_t x,
                             const uint32_t* weights, int groups) {
#pragma GCC unroll 1
    for (int row = 0; row < 3; ++row) {
#pragma GCC unroll 1
        for (int column = 0; column < 3; ++column) {
            const uint32_t* words = source.rows[row] + x + column - 1;
#pragma GCC unroll 1
            for (int group = 0; group < groups; ++group) {
                typename N::Pixels pixels[kVectors];
#pragma GCC unroll 8
                for (int v = 0; v < kVectors; ++v) {
                    pixels[v] = N::load(words + v * N::kLanes);
                    N::hold(pixels[v]);  // or g++ loads it anew for each output
                }
#pragma GCC unroll 16
                for (int o = 0; o < kBlock; ++o) {
                    const typename N::Pixels weight = N::broadcast(weights + o);
#pragma GCC unroll 8
                    for (int v = 0; v < kVectors; ++v) N::multiply_add(sums[o][v], pixels[v], weight);
                }
                weights += kBlock;
                words += source.stride;
            }
        }
    }
}

// The values of outputs `first` to `first + kBlock` at the pixels from x on, behind the activation.
template <class N, int kBlock, int kVectors>
REPSR_INLINE void convolve(const Packed& layer, const Source& source, int64_t x, int first,
                           typename N::Floats (&values)[kBlock][kVectors]) {
    typename N::Sums sums[kBlock][kVectors];
#pragma GCC unroll 16
    for (int o = 0; o < kBlock; ++o) {
        const typename N::Sums start = N::start(layer, first + o);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[o][v] = start;
    }
    const int64_t taps = int64_t{9} * layer.groups;
    accumulate<N, kBlock, kVectors>(sums, source, x, layer.weights + first * taps, layer.groups);
#pragma GCC unroll 16
    for (int o = 0; o < kBlock; ++o) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) values[o][v] = N::value(sums[o][v], layer, first + o);
    }
    if (!layer.slope) return;
#pragma GCC unroll 16
    for (int o = 0; o < kBlock; ++o) {
        const typename N::Floats slope = N::floats(layer.slope[first + o]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) values[o][v] = N::activate(values[o][v], slope);
    }
}

constexpr float kLargest = 1 << 30;  // a float above it becomes the code that this one becomes: the highest

// All outputs of kVectors vectors of pixels. The source's rows are near when the next block wants them.
template <class N, class Out, int kVectors>
REPSR_INLINE void make_vectors(const Packed& layer, const Source& source, int64_t x, uint32_t* out, int64_t out_stride,
                               const typename Out::Rounding& rounding) {
    static_assert(N::kBlock % Out::kGroup == 0, "a block makes whole words");
#pragma GCC unroll 1
    for (int first = 0; first < layer.outputs; first += N::kBlock) {
        typename N::Floats values[N::kBlock][kVectors];
        convolve<N, N::kBlock, kVectors>(layer, source, x, first, values);
        uint32_t* words = out + first / Out::kGroup * out_stride + x;
        // From memory after the products: kept in registers meanwhile, it would push sums out of them.
        const typename Out::Rounding* now = &rounding;
        asm volatile("" : "+r"(now));
#pragma GCC unroll 16
        for (int o = 0; o < N::kBlock; o += Out::kGroup) {
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) {
                typename N::Floats channels[Out::kGroup];
#pragma GCC unroll 4
                for (int k = 0; k < Out::kGroup; ++k) {
                    channels[k] = values[o + k][v];
                    // Sums of codes stay below by the packer's word.
                    if (Out::kWords == Words::codes && N::kWords != Words::codes) {
                        channels[k] = N::lower(channels[k], N::floats(kLargest));
                    }
                }
                Out::store(words + v * N::kLanes, channels, *now);
            }
            words += out_stride;
        }
    }
}

// How many vectors to do next, at most kVectors, so that all times are about even: a vector that nobody asked for would
// be wasted, and sums of one alone keep the processor waiting.
template <int kLanes, int kVectors>
REPSR_INLINE int vectors_now(int64_t columns_left) {
    const int64_t left = (columns_left + kLanes - 1) / kLanes, steps = (left + kVectors - 1) / kVectors;
    return static_cast<int>((left + steps - 1) / steps);
}

// step.template operator()<vectors>(x)
template <int kVectors, class Step>
REPSR_INLINE void step_with(int vectors, int64_t x, const Step& step) {
    if constexpr (kVectors > 1) {
        if (vectors < kVectors) return step_with<kVectors - 1>(vectors, x, step);
    }
    step.template operator()<kVectors>(x);
}

template <class N, class Out>
struct RowStep {
    const Packed& layer;
    const Source& source;
    uint32_t* out;
    int64_t out_stride;
    typename Out::Rounding rounding;

    template <int kVectors>
    REPSR_INLINE void operator()(int64_t x) const {
        make_vectors<N, Out, kVectors>(layer, source, x, out, out_stride, rounding);
    }
};

// MakeRow
template <class N, class Out>
void make_row(const Packed& layer, const Source& source, int64_t columns, uint32_t* out, int64_t out_stride) {
    const RowStep<N, Out> step{layer, source, out, out_stride, {layer.out_zero, layer.out_low, layer.out_high}};
    for (int64_t x = 0; x < columns;) {
        const int vectors = vectors_now<N::kLanes, N::kVectors>(columns - x);
        step_with<N::kVectors>(vectors, x, step);
        x += vectors * N::kLanes;
    }
}

// Multiply-adds of so many rounds of the instruction, on as many sums as a block has.
template <class N>
int64_t spin(int64_t rounds) {
    constexpr int kSums = N::kBlock * N::kVectors;
    const uint32_t words[2] = {0x3f803f80, 0x01010101};  // numbers of every type, not denormal
    typename N::Pixels pixels = N::broadcast(words), weights = N::broadcast(words + 1);
    typename N::Sums sums[kSums] = {};
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 32
        for (int k = 0; k < kSums; ++k) {
            N::hold(weights);
            N::multiply_add(sums[k], pixels, weights);
        }
#pragma GCC unroll 32
        for (int k = 0; k < kSums; ++k) N::hold(sums[k]);
    }
    return rounds * kSums * N::kLanes * N::kGroup;
}

}  // namespace
}  // namespace repsr::cpu
