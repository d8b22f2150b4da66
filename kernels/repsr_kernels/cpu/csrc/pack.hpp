// A layer as its kernel wants it.
#pragma once

#include <cstdint>
#include <vector>

#include "aligned.hpp"
#include "kernels.hpp"
#include "model.hpp"

namespace repsr::cpu {

constexpr int kTaps = 9;  // of a convolution

// A quantization as an arithmetic of codes stores it: `stored = code + shift`.
struct StoredCodes {
    int32_t zero = 0, low = 0, high = 0;
    uint32_t pad = 0;  // a word of zeros: what stands around the picture

    StoredCodes() = default;
    StoredCodes(const Quantization& codes, const Arithmetic& arithmetic);
};

// A picture's value of 0..255 times this one is in steps of the codes. Raises Error (REPSR_UNSUPPORTED).
float picture_factor_of(const Quantization& codes);

// Where a layer stands.
struct Place {
    Words input;                             // what it reads
    const Arithmetic* arithmetic;            // of `input`
    int32_t groups = 0;                      // of the rows that it reads, padding among them
    bool first = false;                      // reads the picture, which is 0..255 where a layer of floats reads it
    const Quantization* codes = nullptr;     // of its output; null where that is none of codes
    const Arithmetic* codes_arithmetic = nullptr;  // of the layer that reads them
};

// What a kernel is given, and the memory that it points to.
struct PackedLayer {
    Packed packed{};
    Aligned<uint32_t> weights;
    std::vector<float> bias, gain, slope;
    std::vector<int32_t> start;
};

// Both raise Error (REPSR_UNSUPPORTED) where numbers would leave what the kernels compute with, and bad_alloc.
PackedLayer pack_row_layer(const Layer& layer, const Place& place);
// The last layer, outputs in the order dy, colour, dx.
PackedLayer pack_pixels_layer(const Layer& layer, const Place& place, int colours, int scale);

inline int32_t padded_outputs(int outputs) { return (outputs + kOutputs - 1) / kOutputs * kOutputs; }
inline int32_t groups_of(int channels, int32_t group) { return (channels + group - 1) / group; }

}  // namespace repsr::cpu
