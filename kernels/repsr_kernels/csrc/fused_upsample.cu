// The kernel of FusedUpsample (operations.py) for GPUs, in the variant that macros choose. May be included again with
// other macros. variants.py lists them and the grid: a thread makes REPSR_PIXELS LR pixels of one row, or of video
// frames that many columns of a pair of rows.
#ifndef REPSR_VECTORS
#define REPSR_VECTORS 1
#endif
#include "fused_upsample_video.cuh"

#ifndef REPSR_NAME
#define REPSR_NAME fused_upsample
#endif

// How many blocks of 128 threads a multiprocessor is to hold at least: enough to hide how long memory takes, few enough
// that no register spills.
#undef REPSR_BLOCKS
#define REPSR_BLOCKS \
    (REPSR_OUT == repsr::UINT8 && REPSR_VIDEO == 0 && REPSR_PLANAR && REPSR_SKIP != repsr::SKIP_BILINEAR ? 3 : 2)

extern "C" __global__ void __launch_bounds__(128, REPSR_BLOCKS) REPSR_NAME(const repsr::FusedUpsample given) {
    repsr::FusedUpsample params = given;
    params.features.type = REPSR_FEATURES;
    params.skip = REPSR_SKIP;
    params.image.type = REPSR_IMAGE;
    params.out.type = params.chroma.type = REPSR_OUT;
    params.yuv.bits = REPSR_VIDEO;
    const int64_t rows = REPSR_VIDEO == 0 ? params.rows : (int64_t{params.rows} * REPSR_SCALE + 1) / 2;
    const int64_t column = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * REPSR_PIXELS;
    if (column >= params.columns) return;
    uint64_t nonfinite = 0;
    for (int64_t n = blockIdx.z; n < params.count; n += gridDim.z) {
        for (int64_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            if constexpr (REPSR_VIDEO != 0) {
                nonfinite += repsr::video_block<REPSR_SCALE, REPSR_PIXELS>(params, REPSR_PLANAR, n, row, column, 0);
            } else {
                nonfinite += repsr::picture_block<REPSR_SCALE, REPSR_CHANNELS, REPSR_PIXELS>(
                    params, REPSR_PLANAR, n, row, 0, REPSR_SCALE, column, 0);
            }
        }
    }
    if (nonfinite != 0 && params.nonfinite != nullptr) {
        atomicAdd(reinterpret_cast<unsigned long long*>(params.nonfinite), static_cast<unsigned long long>(nonfinite));
    }
}

REPSR_EMULATE(REPSR_NAME, repsr::FusedUpsample)
