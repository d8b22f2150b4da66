// Pixels that come in and go out: what a job says, checked.
#pragma once

#include <cstdint>

#include "aligned.hpp"
#include "kernels.hpp"
#include "repsr_engine.h"

namespace repsr::cpu {

struct Picture {
    repsr_samples samples;
    int32_t colours;
    int64_t height, width;
    const uint8_t* data;     // row 0
    int64_t pitch, plane;    // bytes

    const uint8_t* at(int64_t y, int64_t x) const {
        return data + y * pitch + x * (samples == REPSR_BYTES ? colours : int64_t{sizeof(float)});
    }
};

struct Result {
    repsr_samples samples;
    uint8_t* data;           // of LR row `first_row`
    int64_t first_row;
    int64_t pitch, plane;    // bytes

    float full_scale() const { return samples == REPSR_BYTES ? 255.0f : 1.0f; }
};

// Pixels `left`..`left + columns` of row y as planes of floats, in which white is `full_scale`: 255 or 1. Returns
// whether all are finite.
bool read_planes(const Kernels& kernels, const Picture& picture, int64_t y, int64_t left, int64_t columns,
                 float full_scale, float* planes, int64_t stride);

// Whether no float among these bits is NaN or infinite.
bool all_finite(const uint32_t* bits, int64_t count);

// Words from one plane or group to the next. No kernel's last vector reaches the word left of the next one, and as an
// odd number of cache lines it sends neighbouring groups to other sets of the cache.
inline int64_t stride_of(int64_t columns) {
    constexpr int64_t kWords = kLine / sizeof(uint32_t);
    return (((columns + kSlack + kWords - 1) / kWords + 1) | 1) * kWords;
}

}  // namespace repsr::cpu
