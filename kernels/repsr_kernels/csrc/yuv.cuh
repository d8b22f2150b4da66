// Colours and chroma of video frames (yuv.py), one pixel or one axis at a time.
#pragma once

#include "params.cuh"

namespace repsr {

// Y, Cb, Cr, unrounded, of red, green, blue in 0..1.
HOST_DEVICE void codes_of(const Yuv& yuv, float r, float g, float b, float codes[3]) {
    for (int i = 0; i < 3; ++i) {
        const float* row = yuv.matrix + 3 * i;
        codes[i] = ((row[0] * r + row[1] * g) + row[2] * b) + yuv.offset[i];
    }
}

// Red, green, blue of Y, Cb, Cr; codes need not be of a colour, so that these may lie beyond 0..1.
HOST_DEVICE void rgb_of(const Yuv& yuv, float luma, float blue, float red, float rgb[3]) {
    const float y = luma - yuv.offset[0], cb = blue - yuv.offset[1], cr = red - yuv.offset[2];
    for (int i = 0; i < 3; ++i) {
        const float* row = yuv.matrix + 3 * i;
        rgb[i] = (row[0] * y + row[1] * cb) + row[2] * cr;
    }
}

// Whether chroma samples lie on the even pixels of an axis; else they lie between these and the next.
HOST_DEVICE bool sited_on_rows(int32_t siting) { return siting == SITING_TOP_LEFT; }
HOST_DEVICE bool sited_on_columns(int32_t siting) { return siting != SITING_CENTER; }

// Chroma sample i of the values at pixels 2 i - 1, 2 i and 2 i + 1 of an axis.
HOST_DEVICE float halved(bool sited_on, float before, float first, float second) {
    return sited_on ? (before * 0.25f + first * 0.5f) + second * 0.25f : first * 0.5f + second * 0.5f;
}

// The two of an axis' chroma samples that a pixel lies between, and how far from the first to the second: 1 on it.
struct Between {
    int32_t first, second;
    float t;
};

HOST_DEVICE float way_to_second(bool sited_on, bool odd) {
    return sited_on ? (odd ? 0.5f : 1.0f) : (odd ? 0.25f : 0.75f);
}

HOST_DEVICE Between chroma_around(bool sited_on, int32_t pixel, int32_t samples) {
    const int32_t second = (pixel + 1) / 2;
    return {second > 0 ? second - 1 : 0, second < samples ? second : samples - 1, way_to_second(sited_on, pixel % 2 != 0)};
}

HOST_DEVICE float interpolated(float first, float second, float t) { return first * (1.0f - t) + second * t; }

}  // namespace repsr
