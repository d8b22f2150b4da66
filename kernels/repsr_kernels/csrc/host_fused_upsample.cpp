// FusedUpsample (operations.py) on processors.
#include <cerrno>
#include <new>

#include "fused_upsample_video.cuh"
#include "host_threads.hpp"

namespace {

using repsr::FusedUpsample;

// LR pixels of a block: many, so that loops over them become vectors; few, so that a block stays in the fastest cache.
constexpr int PIXELS = 64;
// Samples of a part that a thread takes: some 100 microseconds.
constexpr int64_t GRAIN = 1 << 18;

// Calls make(column, made) for the blocks of a row. The last one begins so early that it is whole, where there is room,
// and at a multiple of `unit` LR pixels: its first `made` pixels have been made before.
template <class Make>
uint64_t over_row(int columns, int unit, Make make) {
    const int last = std::max((columns - PIXELS + unit - 1) / unit * unit, 0);
    uint64_t nonfinite = 0;
    for (int64_t column = 0; column < columns; column += PIXELS) {
        const int first = static_cast<int>(std::min<int64_t>(column, last));
        nonfinite += make(first, static_cast<int>(column) - first);
    }
    return nonfinite;
}

// Makes row `row` of image n: an LR row, or of a video frame a pair of rows. Returns how many samples were not finite.
using MakeRow = uint64_t (*)(const FusedUpsample& params, int n, int row);

template <int SCALE, int CHANNELS>
uint64_t picture_row(const FusedUpsample& params, int n, int row) {
    const bool planar = params.features.pixel == 1;
    uint64_t nonfinite = 0;
    for (int i = 0; i < SCALE; ++i) {  // one whole row after the other: few channels at a time, far from each other
        nonfinite += over_row(params.columns, 1, [&](int column, int made) {
            return repsr::picture_block<SCALE, CHANNELS, PIXELS>(params, planar, n, row, i, i + 1, column, made);
        });
    }
    return nonfinite;
}

template <int SCALE>
uint64_t video_row(const FusedUpsample& params, int n, int pair) {
    const bool planar = params.features.pixel == 1;
    return over_row(params.columns, 1 + SCALE % 2, [&](int column, int made) {
        return repsr::video_block<SCALE, PIXELS>(params, planar, n, pair, column, made);
    });
}

template <int SCALE>
MakeRow row_maker(const FusedUpsample& params) {
    if (params.chroma.data != nullptr) return video_row<SCALE>;
    return params.channels == 1 ? picture_row<SCALE, 1> : picture_row<SCALE, 3>;
}

MakeRow row_maker_of(const FusedUpsample& params) {
    switch (params.scale) {
        case 1: return row_maker<1>(params);
        case 2: return row_maker<2>(params);
        case 3: return row_maker<3>(params);
        default: return row_maker<4>(params);
    }
}

}  // namespace

// 0, or an error number of errno.h.
extern "C" int repsr_fused_upsample(const FusedUpsample* params, int threads) {
    const MakeRow make_row = row_maker_of(*params);
    const bool video = params->chroma.data != nullptr;
    const int64_t rows = video ? (int64_t{params->rows} * params->scale + 1) / 2 : params->rows;
    const int64_t samples = int64_t{params->columns} * params->channels * params->scale * params->scale;
    std::atomic<uint64_t> nonfinite{0};
    const auto make_rows = [&](int64_t first, int64_t end) noexcept {
        uint64_t found = 0;
        for (int64_t at = first; at < end; ++at) {
            found += make_row(*params, static_cast<int>(at / rows), static_cast<int>(at % rows));
        }
        nonfinite += found;
    };
    try {
        repsr::parallel(threads, params->count * rows, std::max<int64_t>(GRAIN / samples, 1), make_rows);
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
    if (params->nonfinite != nullptr) *params->nonfinite += nonfinite;
    return 0;
}
