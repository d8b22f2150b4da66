// The last layer: sums, skip, PixelShuffle, clamp and rounding, from rows of words to rows of the result; and the way
// in, from pixels to words. `N` is a type of numbers, `L` what an instruction set does with floats (convolution.hpp).
#pragma once

#include <cstring>

#include "convolution.hpp"

namespace repsr::cpu {
namespace {

// Outputs of a block of a last layer with so many: few blocks of different shape, as each is a text of its own.
template <class N>
constexpr int pixels_block(int outputs) {
    if (N::kBlock >= 8 && outputs % 8 == 0) return 8;
    return outputs % 4 == 0 ? 4 : outputs % 3 == 0 ? 3 : 1;
}

template <class L>
REPSR_INLINE void interleave(typename L::Bits (&)[1]) {}
template <class L>
REPSR_INLINE void interleave(typename L::Bits (&words)[2]) {
    L::interleave(words);
}
template <class L>
REPSR_INLINE void interleave(typename L::Bits (&words)[3]) {
    L::interleave(words);
}
template <class L>
REPSR_INLINE void interleave(typename L::Bits (&words)[4]) {
    typename L::Bits even[2] = {words[0], words[2]}, odd[2] = {words[1], words[3]};
    L::interleave(even);
    L::interleave(odd);
    for (int half = 0; half < 2; ++half) {
        typename L::Bits both[2] = {even[half], odd[half]};
        L::interleave(both);
        words[2 * half] = both[0], words[2 * half + 1] = both[1];
    }
}

// Writes the words of s vectors, interleaved to s * kLanes pixels of `bytes_of_pixel` bytes each, of which `count`
// vectors' lanes are there.
template <class L, int kScale, int kBytes>
REPSR_INLINE void store_pixels(uint8_t* out, typename L::Bits (&words)[kScale], int count) {
    interleave<L>(words);
    uint8_t part[kScale * L::kLanes * kBytes];
    uint8_t* to = count == L::kLanes ? out : part;
#pragma GCC unroll 4
    for (int k = 0; k < kScale; ++k) {
        uint8_t* const vector = to + k * L::kLanes * kBytes;
        if constexpr (kBytes == 1) L::store_luma(vector, words[k]);
        if constexpr (kBytes == 3) L::store_rgb(vector, words[k]);
        if constexpr (kBytes == 4) L::store_bits(vector, words[k]);
    }
    if (to == part) memcpy(out, part, static_cast<size_t>(count) * kScale * kBytes);
}

// Values of `count` pixels of the source as pixels `first` and so on of row dy of the result.
template <class L, int kColours, int kScale>
REPSR_INLINE void store_values(const typename L::Floats (&values)[kColours][kScale], int64_t first, int count, int dy,
                               const Target& target) {
    if (target.bytes) {
        typename L::Bits words[kScale];
#pragma GCC unroll 4
        for (int dx = 0; dx < kScale; ++dx) {
            if constexpr (kColours == 3) {
                words[dx] = L::rgb(values[0][dx], values[1][dx], values[2][dx]);
            } else {
                words[dx] = L::rounded(values[0][dx]);
            }
        }
        store_pixels<L, kScale, kColours>(target.bytes + dy * target.pitch + first * kColours, words, count);
        return;
    }
#pragma GCC unroll 3
    for (int c = 0; c < kColours; ++c) {
        typename L::Bits words[kScale];
#pragma GCC unroll 4
        for (int dx = 0; dx < kScale; ++dx) words[dx] = L::bits(values[c][dx]);
        uint8_t* const row = reinterpret_cast<uint8_t*>(target.floats) + c * target.plane + dy * target.pitch;
        store_pixels<L, kScale, 4>(row + first * 4, words, count);
    }
}

// Row dy of the result at `pixels` pixels of the source from x on; `sums`: [C][s][sums_stride], whole vectors. `check`
// becomes NaN where a value is not finite. One text for all types of numbers.
template <class L, int kColours, int kScale>
__attribute__((noinline)) void finish(const float* sums, int sums_stride, int64_t x, int pixels, int dy,
                                      const Target& target, typename L::Floats& check) {
    const typename L::Floats gain = L::floats(target.gain), zero = L::floats(0.0f);
    const typename L::Floats top = L::floats(target.bytes ? 255.0f : 1.0f);
    const bool clamps = target.bytes || target.clamps;
    for (int k = 0; k < pixels; k += L::kLanes, x += L::kLanes) {
        const int count = pixels - k < L::kLanes ? pixels - k : L::kLanes;
        typename L::Floats values[kColours][kScale];
#pragma GCC unroll 3
        for (int c = 0; c < kColours; ++c) {
#pragma GCC unroll 4
            for (int dx = 0; dx < kScale; ++dx) {
                const float* skip = target.skip + x;
                skip += c * target.skip_colour + dy * target.skip_dy + dx * target.skip_dx;
                const auto base = count == L::kLanes ? L::load_floats(skip) : L::load_floats(skip, count);
                const auto sum = L::load_floats(sums + (c * kScale + dx) * sums_stride + k);
                const auto value = L::multiply_add_floats(sum, gain, base);
                check = L::multiply_add_floats(value, zero, check);
                values[c][dx] = clamps ? L::upper(L::lower(value, top), zero) : value;
            }
        }
        store_values<L>(values, x * kScale, count, dy, target);
    }
}

// All outputs of up to kVectors vectors of pixels as floats, [outputs][vectors * kLanes], near in the cache.
template <class N, int kBlock>
struct SumsStep {
    // As many registers as rows take: sums, pixels and a weight.
    static constexpr int kMost = (N::kBlock + 1) * N::kVectors / (kBlock + 1);
    static constexpr int kVectors = kMost < 6 ? kMost : 6;

    const Packed& layer;
    const Source& source;
    float* sums;

    template <int kTaken>
    REPSR_INLINE void operator()(int64_t x) const {
        constexpr int kPixels = kTaken * N::kLanes;
#pragma GCC unroll 1
        for (int first = 0; first < layer.outputs; first += kBlock) {
            typename N::Floats values[kBlock][kTaken];
            convolve<N, kBlock, kTaken>(layer, source, x, first, values);
#pragma GCC unroll 16
            for (int o = 0; o < kBlock; ++o) {
#pragma GCC unroll 8
                for (int v = 0; v < kTaken; ++v) {
                    N::store_bits(sums + (first + o) * kPixels + v * N::kLanes, N::bits(values[o][v]));
                }
            }
        }
    }
};

// One text for all layers with this block.
template <class N, int kBlock>
__attribute__((noinline)) void make_sums(const Packed& layer, const Source& source, int64_t x, int vectors,
                                         float* sums) {
    step_with<SumsStep<N, kBlock>::kVectors>(vectors, x, SumsStep<N, kBlock>{layer, source, sums});
}

// MakePixels
template <class N, int kColours, int kScale>
bool make_pixels(const Packed& layer, const Source& source, int64_t columns, const Target& target) {
    constexpr int kChannels = kColours * kScale * kScale, kBlock = pixels_block<N>(kChannels);
    constexpr int kVectors = SumsStep<N, kBlock>::kVectors;
    static_assert(kChannels % kBlock == 0, "whole blocks, or they would write behind the sums");
    typename N::Floats check = N::floats(0.0f);
    float sums[kChannels * kVectors * N::kLanes];
    for (int64_t x = 0; x < columns;) {
        const int vectors = vectors_now<N::kLanes, kVectors>(columns - x);
        const int made = vectors * N::kLanes, pixels = columns - x < made ? static_cast<int>(columns - x) : made;
        make_sums<N, kBlock>(layer, source, x, vectors, sums);
        for (int o = 0; o < kChannels; ++o) {  // what stands behind the columns may be no finite number
            for (int k = pixels; k < made; ++k) sums[o * made + k] = 0.0f;
        }
        for (int dy = 0; dy < kScale; ++dy) {
            const float* const row = sums + dy * kColours * kScale * made;
            finish<typename N::Lanes, kColours, kScale>(row, made, x, pixels, dy, target, check);
        }
        x += made;
    }
    return N::any_nan(check);
}

// A row of bytes as planes of floats, exactly `columns` of each.
template <class L>
void planes_from_bytes(const uint8_t* row, int64_t columns, int32_t colours, float* planes, int64_t stride) {
    for (int64_t x = 0; x < columns; x += L::kLanes) {
        const bool whole = columns - x >= L::kLanes;
        const size_t count = static_cast<size_t>(whole ? L::kLanes : columns - x);
        uint8_t part[3 * L::kLanes] = {};
        const uint8_t* from = row + x * colours;
        if (!whole) from = static_cast<const uint8_t*>(memcpy(part, from, count * static_cast<size_t>(colours)));
        const typename L::Bits words = colours == 3 ? L::load_rgb(from) : L::load_luma(from);
        for (int c = 0; c < colours; ++c) {
            float values[L::kLanes];
            float* const to = planes + c * stride + x;
            L::store_bits(whole ? to : values, L::bits(L::byte(words, c)));
            if (!whole) memcpy(to, values, count * sizeof(float));
        }
    }
}

// Planes of floats times `factor` as words of N; exactly `columns` floats of a plane are read, whole vectors written.
template <class N>
REPSR_INLINE void words_from_planes(const float* planes, int64_t stride, int64_t columns, int32_t colours, float factor,
                                    const typename N::Rounding& rounding, uint32_t* words, int64_t words_stride) {
    const typename N::Floats factors = N::floats(factor), most = N::floats(kLargest), zero = N::floats(0.0f);
    for (int32_t first = 0; first < colours; first += N::kGroup) {
        for (int64_t x = 0; x < columns; x += N::kLanes) {
            typename N::Floats channels[N::kGroup];
#pragma GCC unroll 4
            for (int k = 0; k < N::kGroup; ++k) {
                channels[k] = zero;
                if (first + k >= colours) continue;
                const float* const plane = planes + (first + k) * stride + x;
                const bool whole = columns - x >= N::kLanes;
                const auto value = whole ? N::load_floats(plane) : N::load_floats(plane, static_cast<int>(columns - x));
                channels[k] = N::kWords == Words::codes ? N::lower(N::product(value, factors), most) : value;
            }
            N::store(words + x, channels, rounding);
        }
        words += words_stride;
    }
}

template <class N>
void halves_from_planes(const float* planes, int64_t stride, int64_t columns, int32_t colours, uint32_t* words,
                        int64_t words_stride) {
    words_from_planes<N>(planes, stride, columns, colours, 1.0f, {0, 0, 0}, words, words_stride);
}

template <class N>
void codes_from_planes(const float* planes, int64_t stride, int64_t columns, int32_t colours, float factor,
                       int32_t zero, int32_t low, int32_t high, uint32_t* words, int64_t words_stride) {
    words_from_planes<N>(planes, stride, columns, colours, factor, {zero, low, high}, words, words_stride);
}

}  // namespace
}  // namespace repsr::cpu
