// From pictures to a network's input: `Preprocess` of operations.py, K pixels of a row of `out` at a time.
#pragma once

#include "blocks.cuh"
#include "border.cuh"
#include "shifted.cuh"
#include "yuv.cuh"

namespace repsr {

// Chroma samples x / 2 - 1 to x / 2 + K / 2 of a row, the ones at its ends repeated.
template <class Number, int K>
HOST_DEVICE void read_chroma(
    Number number, const Preprocess& p, int32_t n, int32_t y, int32_t x, float (&samples)[2][K / 2 + 2]) {
    const int32_t first = x / 2, last = p.width / 2 + p.width % 2 - 1;
    float middle[2][K / 2], ends[2][2][1];
    load_pixels(number, p.chroma, n, y, first, last - first + 1, middle);
    load_pixels(number, p.chroma, n, y, most(first - 1, 0), 1, ends[0]);
    load_pixels(number, p.chroma, n, y, least(first + K / 2, last), 1, ends[1]);
    for (int c = 0; c < 2; ++c) {
        samples[c][0] = ends[0][c][0];
        for (int k = 0; k < K / 2; ++k) samples[c][k + 1] = middle[c][k];
        samples[c][K / 2 + 1] = ends[1][c][0];
    }
}

// Red, green and blue in 0..1 of pixels (n, y, x..x + K - 1) of a video frame, K even. Codes have 10 bits and weights 4,
// so that interpolation is exact and its order free.
template <class Number, int K>
HOST_DEVICE void read_frame(
    Number number, const Preprocess& p, int32_t n, int32_t y, int32_t x, float (&colours)[3][K]) {
    const Between rows = chroma_around(sited_on_rows(p.yuv.siting), y, p.height / 2 + p.height % 2);
    float above[2][K / 2 + 2], below[2][K / 2 + 2], luma[1][K], chroma[2][K];
    read_chroma<Number, K>(number, p, n, rows.first, x, above);
    read_chroma<Number, K>(number, p, n, rows.second, x, below);
    load_pixels(number, p.source, n, y, x, least(p.width - x, K), luma);
    const bool on = sited_on_columns(p.yuv.siting), odd = x % 2 != 0;
    for (int c = 0; c < 2; ++c) {
        float down[K / 2 + 2], across[K + 1];  // across: from the even pixel at or before x on
        for (int k = 0; k < K / 2 + 2; ++k) down[k] = interpolated(above[c][k], below[c][k], rows.t);
        for (int k = 0; k <= K; ++k) {
            across[k] = interpolated(down[(k + 1) / 2], down[(k + 1) / 2 + 1], way_to_second(on, k % 2 != 0));
        }
        for (int k = 0; k < K; ++k) chroma[c][k] = odd ? across[k + 1] : across[k];
    }
    for (int k = 0; k < K; ++k) {
        float rgb[3];
        rgb_of(p.yuv, luma[0][k], chroma[0][k], chroma[1][k], rgb);
        for (int c = 0; c < 3; ++c) colours[c][k] = clamped_or_0(rgb[c]);
    }
}

// Call `write` with samples of pixels (n, y, x..x + K - 1) of the source, any beyond its last column, and with what makes
// a colour in 0..1 of one.
template <int CHANNELS, int K, class Write>
HOST_DEVICE void with_pixels(const Preprocess& p, int32_t n, int32_t y, int32_t x, Write write) {
    float samples[CHANNELS][K];
    if constexpr (CHANNELS == 3) {
        if (p.yuv.bits != 0) {
            with_code(p.source.type, [&](auto number) { read_frame(number, p, n, y, x, samples); });
            return write(samples, [](float colour) { return colour; });
        }
    }
    if (REPSR_VECTORS && K % 8 == 0 && is_shifted<CHANNELS, K>(p.source, n, y, x, p.width)) {
        load_shifted(p.source, n, y, x, samples);
    } else {
        load_pixels(Number<UINT8>{}, p.source, n, y, x, least(p.width - x, K), samples);
    }
    write(samples, [](float code) { return over_255(code); });
}

// Write pixels of WIDE channels beside each other, each a vector. The values' channels, then zeros.
template <int WIDE, class Number, int CHANNELS, int K>
HOST_DEVICE void write_wide(
    Number, typename Number::Item* first, int32_t valid, const float (&values)[CHANNELS][1][K]) {
    using Item = typename Number::Item;
    with_vector<WIDE * sizeof(Item)>(place_of(first), [&](auto vector) {
        for (int k = 0; k < K; ++k) {
            Held<Item> items[WIDE] = {};
            for (int c = 0; c < CHANNELS; ++c) items[c] = static_cast<Held<Item>>(Number::item(values[c][0][k]));
            if (k < valid) write_run(vector, first + k * WIDE, items);
        }
    });
}

// Write pixels (n, y, x..x + valid - 1), at most K of them, with `channels` channels; those beyond the values' are 0.
template <class Number, int CHANNELS, int K>
HOST_DEVICE void write_pixels(
    Number number, const View& out, int32_t channels, int32_t n, int32_t y, int32_t x, int32_t valid,
    const float (&values)[CHANNELS][1][K]) {
    using Item = typename Number::Item;
    const bool beside = out.channel == 1 && out.pixel == channels;
    if (beside && channels == 4) return write_wide<4>(number, item_at<Item>(out, n, 0, y, x), valid, values);
    if (beside && channels == 8) return write_wide<8>(number, item_at<Item>(out, n, 0, y, x), valid, values);
    store_pixels(number, out, n, y, x, valid, values);
    View rest = out;
    for (int32_t c = CHANNELS; c < channels; ++c) {
        const float zeros[1][1][K] = {};
        rest.data = item_at<Item>(out, 0, c, 0, 0);
        store_pixels(number, rest, n, y, x, valid, zeros);
    }
}

// Make pixels (n, y, x..x + valid - 1) of `out`, at most K, from those at from_y, from_x of the source on; `nothing`: of
// zeros. Video can only be read by two or more.
template <int CHANNELS, int K>
HOST_DEVICE void make_pixels(
    const Preprocess& p, int32_t n, int32_t y, int32_t x, int32_t valid, int32_t from_y, int32_t from_x, bool nothing) {
    with_pixels<CHANNELS, K>(p, n, from_y, from_x, [&](const auto& samples, auto colour) {
        float values[CHANNELS][1][K];
        for (int c = 0; c < CHANNELS; ++c) {
            for (int k = 0; k < K; ++k) values[c][0][k] = nothing ? 0.0f : p.low + colour(samples[c][k]) * p.span;
        }
        with_float(p.out.type, [&](auto number) {
            write_pixels(number, p.out, p.out_channels, n, y, x, valid, values);
        });
    });
}

// Pixels (n, y, x..x + K - 1) of `out`, or to the end of the row. CHANNELS of the source.
template <int CHANNELS, int K>
HOST_DEVICE void preprocess_block(const Preprocess& p, int32_t n, int32_t y, int32_t x) {
    const int32_t valid = least(p.columns - x, K);
    const uint32_t row = position_of(p.top, y), column = position_of(p.left, x);
    const int32_t from_y = mapped(p.padding, row, p.height);
    const bool above_or_below = p.padding == PAD_ZERO && !inside(row, p.height);
    if (inside(column, p.width) && p.width - static_cast<int32_t>(column) >= valid) {
        make_pixels<CHANNELS, K>(p, n, y, x, valid, from_y, static_cast<int32_t>(column), above_or_below);
    } else if constexpr (K > 8) {
        for (int32_t k = 0; k < valid; k += 8) preprocess_block<CHANNELS, 8>(p, n, y, x + k);
    } else {
        for (int32_t k = 0; k < valid; ++k) {  // pixel by pixel
            const bool nothing = above_or_below || (p.padding == PAD_ZERO && !inside(column + k, p.width));
            make_pixels<CHANNELS, 2>(p, n, y, x + k, 1, from_y, mapped(p.padding, column + k, p.width), nothing);
        }
    }
}

}  // namespace repsr
