// What a kernel is told: plain structures, the same bytes for nvcc, g++ and Python (params.py).
#pragma once

#include "platform.cuh"

namespace repsr {

enum Type : int32_t { FP32 = 0, FP16 = 1, BF16 = 2, UINT8 = 3, UINT16 = 4 };
enum Skip : int32_t { SKIP_NONE = 0, SKIP_NEAREST = 1, SKIP_BILINEAR = 2 };
enum Padding : int32_t { PAD_ZERO = 0, PAD_EDGE = 1, PAD_REFLECT = 2, PAD_WRAP = 3 };
enum Siting : int32_t { SITING_LEFT = 0, SITING_CENTER = 1, SITING_TOP_LEFT = 2 };

// A batch N x C x H x W; element (n, c, y, x) lies n * image + c * channel + y * row + x * pixel elements behind data.
// Interleaved pictures have pixel = 3 and channel = 1, or -1 when blue comes first and data points to red.
struct View {
    void* data;
    int64_t image, channel, row, pixel;
    int32_t type;
    int32_t reserved;
};

// Codes of Y, Cb, Cr and red, green, blue in 0..1, one from the other.
struct Yuv {
    float matrix[9];  // row by row: to codes for FusedUpsample, from codes (their offset taken away) for Preprocess
    float offset[3];  // codes of black: Y, Cb, Cr
    int32_t bits;     // 8: NV12, 10: P010, in the upper bits of 16; 0: no video frame
    int32_t siting;
};

struct FusedUpsample {
    View features;  // N x C s s x height x width: FP32, FP16, BF16
    View image;     // N x C x height x width: UINT8, FP32, FP16, BF16; data is null without skip
    View out;       // N x C x s rows x s columns: UINT8, FP32, FP16, BF16; or luma N x 1: UINT8, UINT16
    View chroma;    // N x 2 x ceil(s rows / 2) x ceil(s columns / 2), of out's type; data is null without video frame
    Yuv yuv;
    uint64_t* nonfinite;            // increased by the number of samples that are NaN or infinite before the clamp; may be null
    int32_t count, height, width;   // of features and image
    int32_t top, left;              // where the finished part begins, LR pixels
    int32_t rows, columns;          // its size, LR pixels
    int32_t channels, scale, skip;
    float low, span, gain;          // network's value of black; white - black; 1 / span
    int32_t reserved;
};

struct Preprocess {
    View source;    // N x C x height x width: UINT8; or luma N x 1: UINT8, UINT16
    View chroma;    // data is null without video frame
    View out;       // N x out_channels x rows x columns: FP32, FP16, BF16
    Yuv yuv;
    int32_t count, height, width;   // of the source
    int32_t top, left;              // where out's first pixel lies in the source; may lie outside
    int32_t rows, columns;          // of out
    int32_t channels, out_channels; // the ones beyond `channels` are written as 0
    int32_t padding;                // what lies around the source
    float low, span;                // network's value of black; white - black
};

static_assert(sizeof(View) == 48 && sizeof(Yuv) == 56, "the layout that params.py writes");
static_assert(sizeof(FusedUpsample) == 312 && sizeof(Preprocess) == 248, "the layout that params.py writes");

}  // namespace repsr
