// Pictures of 8 bits whose blocks begin anywhere: rows of odd lengths, tiles with a halo.
#pragma once

#include "blocks.cuh"

namespace repsr {

// N bytes from anywhere, cut out of the aligned words around them; 4 more on either side must be memory, too.
template <int N>
HOST_DEVICE void read_shifted(const uint8_t* from, uint32_t (&bytes)[N]) {
    const uint32_t offset = place_of(from) % 4;
    uint32_t words[N / 4 + 1];
    for (int w = 0; w <= N / 4; ++w) words[w] = read_words<4>(from - offset + 4 * w).words[0];
    for (int i = 0; i < N; ++i) {
        const uint64_t two = static_cast<uint64_t>(words[i / 4 + 1]) << 32 | words[i / 4];
        bytes[i] = static_cast<uint32_t>(two >> 8 * offset) >> i % 4 * 8 & 0xffu;
    }
}

// Whether load_shifted can read the pixels of a row of `width`, and load_pixels could only do so byte by byte.
template <int CHANNELS, int N>
HOST_DEVICE bool is_shifted(const View& view, int64_t n, int64_t y, int32_t x, int32_t width) {
    const uint64_t first = place_of(item_at<const uint8_t>(view, n, 0, y, x));
    const bool plane = view.pixel == 1 && (first | between_planes<uint8_t, CHANNELS>(view)) % 4 != 0;
    const bool mixed = interleaved<CHANNELS>(view) && (view.channel < 0 ? first - (CHANNELS - 1) : first) % 4 != 0;
    return (plane || mixed) && x >= 4 && width - x >= N + 4;
}

// As load_pixels does.
template <int CHANNELS, int N>
HOST_DEVICE void load_shifted(const View& view, int64_t n, int64_t y, int64_t x, float (&values)[CHANNELS][N]) {
    const uint8_t* const first = item_at<const uint8_t>(view, n, 0, y, x);
    if (view.pixel == 1) {
        for (int c = 0; c < CHANNELS; ++c) {
            uint32_t bytes[N];
            read_shifted(first + c * view.channel, bytes);
            for (int k = 0; k < N; ++k) values[c][k] = static_cast<float>(bytes[k]);
        }
    } else {
        const bool reversed = view.channel < 0;
        uint32_t bytes[N * CHANNELS];
        read_shifted(reversed ? first - (CHANNELS - 1) : first, bytes);
        for (int k = 0; k < N; ++k) {
            for (int c = 0; c < CHANNELS; ++c) {
                const uint32_t backward = bytes[k * CHANNELS + CHANNELS - 1 - c];
                values[c][k] = static_cast<float>(reversed ? backward : bytes[k * CHANNELS + c]);
            }
        }
    }
}

}  // namespace repsr
