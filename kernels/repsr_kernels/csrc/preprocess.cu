// The kernel of Preprocess (operations.py) for GPUs, in the variant that macros choose. May be included again with other
// macros. variants.py lists them and the grid: a thread makes REPSR_PIXELS pixels of one row.
#ifndef REPSR_VECTORS
#define REPSR_VECTORS 1
#endif
#include "preprocess.cuh"

#ifndef REPSR_NAME
#define REPSR_NAME preprocess
#endif

// So many blocks at a time, at least, leave a thread 80 registers, for video 96: none of the variants has to spill.
extern "C" __global__ void __launch_bounds__(128, REPSR_VIDEO == 0 ? 6 : 5) REPSR_NAME(const repsr::Preprocess given) {
    repsr::Preprocess params = given;
    params.source.type = params.chroma.type = REPSR_VIDEO == 10 ? repsr::UINT16 : repsr::UINT8;
    params.yuv.bits = REPSR_VIDEO;
    params.padding = REPSR_PADDING;
    params.out.type = REPSR_OUT;
    if (REPSR_PLANAR) params.out.pixel = 1;
    else params.out.channel = 1;
    const int64_t x = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * REPSR_PIXELS;
    if (x >= params.columns) return;
    for (int64_t n = blockIdx.z; n < params.count; n += gridDim.z) {
        for (int64_t y = blockIdx.y * blockDim.y + threadIdx.y; y < params.rows; y += gridDim.y * blockDim.y) {
            if (REPSR_VIDEO != 0 || params.channels == 3) {
                repsr::preprocess_block<3, REPSR_PIXELS>(params, n, y, x);
            } else {
                repsr::preprocess_block<1, REPSR_PIXELS>(params, n, y, x);
            }
        }
    }
}

REPSR_EMULATE(REPSR_NAME, repsr::Preprocess)
