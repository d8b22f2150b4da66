// From a network's features to video frames (operations.py, FusedUpsample), one block of a pair of rows at a time.
#pragma once

#include "fused_upsample.cuh"

namespace repsr {

// Row i of the SCALE rows that LR row y of image n becomes.
struct FeatureRow {
    int n, y, i;
};

// Row `row` of the result, counted from the crop's first, -1 or more; beyond the features their first or last one.
template <int SCALE>
HOST_DEVICE FeatureRow row_of(const FusedUpsample& params, int n, int row) {
    const uint32_t behind = static_cast<uint32_t>(row) + SCALE;  // the first row of the LR row before the crop's
    const int y = params.top - 1 + static_cast<int>(behind / SCALE);
    if (y < 0) return {n, 0, 0};
    if (y >= params.height) return {n, params.height - 1, SCALE - 1};
    return {n, y, static_cast<int>(behind % SCALE)};
}

// Red, green and blue in 0..1 of the pixel before the block, then of the SCALE K pixels that its LR pixels x..x + K - 1
// become. Beyond the features lies their first or last pixel. Adds to `nonfinite` how many samples of LR pixels
// first..end - 1 of the block were NaN or infinite.
template <int SCALE, int K>
HOST_DEVICE void load_colours(
    const FusedUpsample& params, bool planar, const FeatureRow& row, int x, int first, int end, uint32_t& nonfinite,
    float (&colours)[3][1 + SCALE * K]) {
    const auto clamp = [](float value) { return clamped_or_0(value); };
    float v[3][SCALE][K], nearest[3][K];
    load_nearest(params, row.n, row.y, x, nearest);
    load_sums(params, planar, row.n, row.y, row.i, x, nearest, v);
    nonfinite += nonfinite_in(v, first, end);
    denormalise(params, clamp, v);
    if (SCALE == 3) {  // the last pixel's partner in a pair; of even scales both are always there
        for (int k = 1; k < K; ++k) {
            for (int c = 0; c < 3; ++c) {
                if (x + k == params.width) v[c][0][k] = v[c][SCALE - 1][k - 1];
            }
        }
    }
    float before[3][SCALE][1], nearest_before[3][1];
    if (x > 0) {
        load_nearest(params, row.n, row.y, x - 1, nearest_before);
        load_sums(params, planar, row.n, row.y, row.i, x - 1, nearest_before, before);
        denormalise(params, clamp, before);
    }
    for (int c = 0; c < 3; ++c) {
        colours[c][0] = x > 0 ? before[c][SCALE - 1][0] : v[c][0][0];
        for (int k = 0; k < K; ++k) {
            for (int j = 0; j < SCALE; ++j) colours[c][1 + k * SCALE + j] = v[c][j][k];
        }
    }
}

// Make luma rows 2 pair and 2 pair + 1, and the chroma row between them, of what LR pixels column..column + K - 1
// become, counted from the crop's. `made` and what is returned are as for picture_block.
template <int SCALE, int K>
HOST_DEVICE uint32_t video_block(const FusedUpsample& params, bool planar, int n, int pair, int column, int made) {
    static_assert(K * SCALE % 2 == 0, "no chroma sample is cut in two");
    constexpr int N = K * SCALE;
    const int kept = least(K, params.columns - column), rows = params.rows * SCALE;
    const int64_t out_column = static_cast<int64_t>(column) * SCALE;
    const bool on_rows = sited_on_rows(params.yuv.siting), on_columns = sited_on_columns(params.yuv.siting);
    const float highest = params.yuv.bits == 8 ? 255.0f : 1023.0f;
    const int first = on_rows ? -1 : 0;  // of the rows that the chroma row is the mean of, 2 pair being 0
    float mean[3][1 + N], codes[3];
    uint32_t nonfinite = 0;
    for (int r = first; r < 2; ++r) {
        const int row = 2 * pair + r;
        const bool shown = r >= 0 && row < rows;
        float colours[3][1 + N];
        load_colours<SCALE, K>(
            params, planar, row_of<SCALE>(params, n, row), params.left + column, made, shown ? kept : 0, nonfinite,
            colours);
        if (shown) {
            float luma[1][1][N];
            for (int m = 0; m < N; ++m) {
                codes_of(params.yuv, colours[0][1 + m], colours[1][1 + m], colours[2][1 + m], codes);
                luma[0][0][m] = clamped_to(codes[0], highest);
            }
            with_code(params.out.type, [&](auto number) {
                store_pixels(number, params.out, n, row, out_column, kept * SCALE, luma);
            });
        }
        const float weight = on_rows && r != 0 ? 0.25f : 0.5f;
        for (int c = 0; c < 3; ++c) {
            for (int m = 0; m < 1 + N; ++m) {
                mean[c][m] = r == first ? colours[c][m] * weight : mean[c][m] + colours[c][m] * weight;
            }
        }
    }
    float chroma[2][1][N / 2], colour[3];
    for (int m = 0; m < N / 2; ++m) {
        for (int c = 0; c < 3; ++c) {
            colour[c] = halved(on_columns, mean[c][2 * m], mean[c][2 * m + 1], mean[c][2 * m + 2]);
        }
        codes_of(params.yuv, colour[0], colour[1], colour[2], codes);
        for (int c = 0; c < 2; ++c) chroma[c][0][m] = clamped_to(codes[1 + c], highest);
    }
    with_code(params.chroma.type, [&](auto number) {
        store_pixels(number, params.chroma, n, pair, out_column / 2, (kept * SCALE + 1) / 2, chroma);
    });
    return nonfinite;
}

}  // namespace repsr
