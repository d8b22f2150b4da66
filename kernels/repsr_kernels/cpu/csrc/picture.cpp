#include "picture.hpp"

#include <cstring>

namespace repsr::cpu {

bool all_finite(const uint32_t* bits, int64_t count) {
    constexpr uint32_t kExponent = 0x7f800000;
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; ++i) bad |= (bits[i] & kExponent) == kExponent;
    return bad == 0;
}

bool read_planes(const Kernels& kernels, const Picture& picture, int64_t y, int64_t left, int64_t columns,
                 float full_scale, float* planes, int64_t stride) {
    const uint8_t* row = picture.at(y, left);
    if (picture.samples == REPSR_BYTES) {
        kernels.planes_from_bytes(row, columns, picture.colours, planes, stride);
        for (int64_t c = 0; full_scale == 1 && c < picture.colours; ++c) {
            for (int64_t x = 0; x < columns; ++x) planes[c * stride + x] /= 255;
        }
        return true;
    }
    uint32_t bad = 0;
    for (int64_t c = 0; c < picture.colours; ++c) {
        const auto* const from = reinterpret_cast<const float*>(row + c * picture.plane);  // aligned: check_job
        float* const to = planes + c * stride;
        for (int64_t x = 0; x < columns; ++x) {
            to[x] = from[x] * full_scale;
            bad |= !(to[x] - to[x] == 0);
        }
    }
    return bad == 0;
}

}  // namespace repsr::cpu
