// The blocks of FusedUpsample as a GPU's threads make them, one after the other: few pixels each, moved by vectors.
#define REPSR_VECTORS 1
#include "fused_upsample_video.cuh"

namespace {

template <int SCALE, int CHANNELS, int PIXELS, int VIDEO_PIXELS>
uint64_t make(const repsr::FusedUpsample& params) {
    const bool planar = params.features.pixel == 1;
    uint64_t nonfinite = 0;
    for (int n = 0; n < params.count; ++n) {
        if (params.chroma.data == nullptr) {
            for (int row = 0; row < params.rows; ++row) {
                for (int column = 0; column < params.columns; column += PIXELS) {
                    nonfinite += repsr::picture_block<SCALE, CHANNELS, PIXELS>(
                        params, planar, n, row, 0, SCALE, column, 0);
                }
            }
        } else if constexpr (CHANNELS == 3) {
            for (int pair = 0; 2 * pair < params.rows * SCALE; ++pair) {
                for (int column = 0; column < params.columns; column += VIDEO_PIXELS) {
                    nonfinite += repsr::video_block<SCALE, VIDEO_PIXELS>(params, planar, n, pair, column, 0);
                }
            }
        }
    }
    return nonfinite;
}

uint64_t make_any(const repsr::FusedUpsample& params) {
    switch (params.scale * 10 + params.channels) {
        case 23: return make<2, 3, 8, 4>(params);
#ifndef ONLY_COLOUR_AT_SCALE_2  // soon compiled
        case 11: return make<1, 1, 8, 8>(params);
        case 13: return make<1, 3, 8, 8>(params);
        case 21: return make<2, 1, 8, 4>(params);
        case 31: return make<3, 1, 4, 4>(params);
        case 33: return make<3, 3, 4, 4>(params);
        case 41: return make<4, 1, 4, 2>(params);
        case 43: return make<4, 3, 4, 2>(params);
#endif
        default: return ~uint64_t{0};
    }
}

}  // namespace

extern "C" void make_blocks(const repsr::FusedUpsample* params) {
    const uint64_t nonfinite = make_any(*params);
    if (params->nonfinite != nullptr) *params->nonfinite += nonfinite;
}
