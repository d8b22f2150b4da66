// What lies around a picture.
#pragma once

#include "params.cuh"

namespace repsr {

// Where a pixel that is `steps` behind `start` lies on an axis of the source. True positions reach from -2^30 to
// 3 2^30 - 3 (operations.py), so that modulo 2^32 they stay apart: from 3 2^30 on they are the ones below 0.
HOST_DEVICE uint32_t position_of(int32_t start, int32_t steps) {
    return static_cast<uint32_t>(start) + static_cast<uint32_t>(steps);
}

HOST_DEVICE bool inside(uint32_t position, int32_t side) { return position < static_cast<uint32_t>(side); }

// The pixel of an axis that stands for a position; where nothing does (PAD_ZERO), one that can be read.
HOST_DEVICE int32_t mapped(int32_t padding, uint32_t position, int32_t side) {
    if (inside(position, side)) return static_cast<int32_t>(position);
    const bool below = position >= 0xc0000000u;
    const uint32_t length = static_cast<uint32_t>(side), distance = below ? 0u - position : position;
    if (padding == PAD_REFLECT && side > 1) {
        const uint32_t period = 2 * (length - 1), phase = distance % period;  // at most 2^32 - 4
        return static_cast<int32_t>(phase < length ? phase : period - phase);
    }
    if (padding == PAD_WRAP) {
        const uint32_t phase = distance % length;
        return static_cast<int32_t>(below && phase > 0 ? length - phase : phase);
    }
    return below ? 0 : side - 1;
}

}  // namespace repsr
