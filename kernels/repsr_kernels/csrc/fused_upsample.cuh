// From a network's features to pictures (operations.py, FusedUpsample), one block of K LR pixels at a time.
//
// v[c][j][k] are the samples of colour c, in one row of the result, of the SCALE pixels j that LR pixel k becomes.
#pragma once

#include "blocks.cuh"
#include "yuv.cuh"

namespace repsr {

// How far from the upper or left one of two LR pixels to the other HR pixel i of SCALE lies. (2 i + 1 - s) / 2 s counts
// from the LR pixel that i belongs to; where that is negative, the two are this one and the one before.
template <int SCALE>
HOST_DEVICE float share(int i) {
    float t = 0;
    for (int at = 0; at < SCALE; ++at) {
        const float offset = static_cast<float>(2 * at + 1 - SCALE) / static_cast<float>(2 * SCALE);
        if (at == i) t = offset < 0 ? offset + 1.0f : offset;
    }
    return t;
}

template <int SCALE>
HOST_DEVICE bool in_first_half(int i) {
    return 2 * i + 1 < SCALE;
}

HOST_DEVICE float mixed(float first, float second, float t) { return first * (1.0f - t) + second * t; }

// Features of row i of the SCALE rows that LR row y becomes, columns x..x + K - 1; from `valid` on the last one's.
// planar: columns lie side by side; otherwise channels do.
template <int SCALE, int CHANNELS, int K>
HOST_DEVICE void load_features(
    const FusedUpsample& params, bool planar, int n, int y, int i, int x, int valid, float (&v)[CHANNELS][SCALE][K]) {
    constexpr int DEPTH = SCALE * SCALE;
    const View& view = params.features;
    with_float(view.type, [&](auto number) {
        using Number = decltype(number);
        using Item = typename Number::Item;
        const Item* const first = item_at<const Item>(view, n, i * SCALE, y, x);
        if (planar && valid >= K) {
            const uint64_t places = place_of(first) | between_planes<Item, CHANNELS * DEPTH>(view);
            with_vector<K * sizeof(Item)>(places, [&](auto vector) {
                for (int c = 0; c < CHANNELS; ++c) {
                    for (int j = 0; j < SCALE; ++j) {
                        load_run<Number>(vector, first + (c * DEPTH + j) * view.channel, v[c][j]);
                    }
                }
            });
        } else if (planar) {
            for (int c = 0; c < CHANNELS; ++c) {
                for (int j = 0; j < SCALE; ++j) {
                    const Item* const run = first + (c * DEPTH + j) * view.channel;
                    for (int k = 0; k < K; ++k) v[c][j][k] = Number::value(read_item(run + least(k, valid - 1)));
                }
            }
        } else {
            const uint64_t places = place_of(first) | static_cast<uint64_t>(view.pixel) * sizeof(Item);
            with_vector<SCALE * sizeof(Item)>(places, [&](auto vector) {
                for (int k = 0; k < K; ++k) {
                    const Item* const pixel = first + least(k, valid - 1) * view.pixel;
                    for (int c = 0; c < CHANNELS; ++c) {
                        float run[SCALE];
                        load_run<Number>(vector, pixel + c * DEPTH, run);
                        for (int j = 0; j < SCALE; ++j) v[c][j][k] = run[j];
                    }
                }
            });
        }
    });
}

// Pixels (y, x..x + K - 1) of the image as the network saw them; from `valid` on the last one.
template <int CHANNELS, int K>
HOST_DEVICE void load_image(
    const FusedUpsample& params, int n, int y, int x, int valid, float (&pixels)[CHANNELS][K]) {
    with_float_or_uint8(
        params.image.type, [&](auto number) { load_pixels(number, params.image, n, y, x, valid, pixels); });
    if (params.image.type != UINT8) return;
    for (int c = 0; c < CHANNELS; ++c) {
        for (int k = 0; k < K; ++k) pixels[c][k] = params.low + over_255(pixels[c][k]) * params.span;
    }
}

// Pixels (y, x - 1..x + K); beyond the image, its first or last one.
template <int CHANNELS, int K>
HOST_DEVICE void load_line(
    const FusedUpsample& params, int n, int y, int x, int valid, float (&line)[CHANNELS][K + 2]) {
    float inner[CHANNELS][K], before[CHANNELS][1], after[CHANNELS][1];
    load_image(params, n, y, x, valid, inner);
    load_image(params, n, y, most(x - 1, 0), 1, before);
    load_image(params, n, y, valid < K ? x + valid - 1 : least(x + K, params.width - 1), 1, after);
    for (int c = 0; c < CHANNELS; ++c) {
        line[c][0] = before[c][0];
        for (int k = 0; k < K; ++k) line[c][k + 1] = inner[c][k];
        line[c][K + 1] = after[c][0];
    }
}

template <int SCALE, int CHANNELS, int K>
HOST_DEVICE void add_bilinear(
    const FusedUpsample& params, int n, int y, int i, int x, int valid, float (&v)[CHANNELS][SCALE][K]) {
    float line[CHANNELS][K + 2], below[CHANNELS][K + 2];
    const int upper = in_first_half<SCALE>(i) ? y - 1 : y;
    load_line<CHANNELS, K>(params, n, most(upper, 0), x, valid, line);
    load_line<CHANNELS, K>(params, n, least(upper + 1, params.height - 1), x, valid, below);
    const float t = share<SCALE>(i);
    for (int c = 0; c < CHANNELS; ++c) {
        for (int k = 0; k < K + 2; ++k) line[c][k] = mixed(line[c][k], below[c][k], t);
        for (int j = 0; j < SCALE; ++j) {
            const int left = in_first_half<SCALE>(j) ? 0 : 1;
            for (int k = 0; k < K; ++k) v[c][j][k] += mixed(line[c][k + left], line[c][k + left + 1], share<SCALE>(j));
        }
    }
}

// What a nearest skip repeats in all rows that LR row y becomes, columns x..x + K - 1; without such a skip, nothing.
template <int CHANNELS, int K>
HOST_DEVICE void load_nearest(const FusedUpsample& params, int n, int y, int x, float (&pixels)[CHANNELS][K]) {
    if (params.skip == SKIP_NEAREST) load_image(params, n, y, x, least(K, params.width - x), pixels);
}

// v = features + skip of row i of those that LR row y becomes; those of LR pixels beyond the features mean nothing.
template <int SCALE, int CHANNELS, int K>
HOST_DEVICE void load_sums(
    const FusedUpsample& params, bool planar, int n, int y, int i, int x, const float (&nearest)[CHANNELS][K],
    float (&v)[CHANNELS][SCALE][K]) {
    const int valid = least(K, params.width - x);
    load_features(params, planar, n, y, i, x, valid, v);
    if (params.skip == SKIP_BILINEAR) add_bilinear(params, n, y, i, x, valid, v);
    if (params.skip != SKIP_NEAREST) return;
    for (int c = 0; c < CHANNELS; ++c) {
        for (int j = 0; j < SCALE; ++j) {
            for (int k = 0; k < K; ++k) v[c][j][k] += nearest[c][k];
        }
    }
}

// How many samples of LR pixels first..end - 1 of a block are NaN or infinite.
template <int SCALE, int CHANNELS, int K>
HOST_DEVICE uint32_t nonfinite_in(const float (&v)[CHANNELS][SCALE][K], int first, int end) {
    uint32_t count = 0;
    for (int c = 0; c < CHANNELS; ++c) {
        for (int j = 0; j < SCALE; ++j) {
            for (int k = 0; k < K; ++k) count += !finite(v[c][j][k]) && k >= first && k < end ? 1 : 0;
        }
    }
    return count;
}

// From the network's range to that of `clamp`, which is given what is 0..1 for colours that can be shown.
template <class Clamp, int SCALE, int CHANNELS, int K>
HOST_DEVICE void denormalise(const FusedUpsample& params, Clamp clamp, float (&v)[CHANNELS][SCALE][K]) {
    for (int c = 0; c < CHANNELS; ++c) {
        for (int j = 0; j < SCALE; ++j) {
            for (int k = 0; k < K; ++k) v[c][j][k] = clamp((v[c][j][k] - params.low) * params.gain);
        }
    }
}

// Make rows first..end - 1 of those that LR row `row` becomes, of what LR pixels column..column + K - 1 become; both
// are counted from the crop's. The first `made` pixels have been made before: returns how many samples of the others
// were NaN or infinite.
template <int SCALE, int CHANNELS, int K>
HOST_DEVICE uint32_t picture_block(
    const FusedUpsample& params, bool planar, int n, int row, int first, int end, int column, int made) {
    const int kept = least(K, params.columns - column);
    const int64_t out_row = static_cast<int64_t>(row) * SCALE, out_column = static_cast<int64_t>(column) * SCALE;
    const int y = params.top + row, x = params.left + column;
    float nearest[CHANNELS][K];
    load_nearest(params, n, y, x, nearest);
    uint32_t nonfinite = 0;
    for (int i = first; i < end; ++i) {
        float v[CHANNELS][SCALE][K];
        load_sums(params, planar, n, y, i, x, nearest, v);
        nonfinite += nonfinite_in(v, made, kept);
        with_float_or_uint8(params.out.type, [&](auto number) {
            const auto clamp = [](float value) {
                return decltype(number)::type == UINT8 ? clamped_or_0(value) * 255.0f : clamped(value);
            };
            denormalise(params, clamp, v);
            store_pixels(number, params.out, n, out_row + i, out_column, kept * SCALE, v);
        });
    }
    return nonfinite;
}

}  // namespace repsr
