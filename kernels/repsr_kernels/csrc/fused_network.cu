// The kernel of fused_network.cuh: a grid of any size, whose blocks share the tiles.
#include "fused_network.cuh"

#ifndef REPSR_NAME
#define REPSR_NAME fused_network
#endif

extern "C" __global__ void __launch_bounds__(
    (repsr::NetworkPlan<REPSR_SCALE, REPSR_BODY, REPSR_STRIPS>::THREADS), 1)
    REPSR_NAME(const repsr::FusedNetwork params) {
    using Plan = repsr::NetworkPlan<REPSR_SCALE, REPSR_BODY, REPSR_STRIPS>;
    const int32_t tiles = params.count * params.down * params.across;
    for (int32_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) repsr::NetworkTile<Plan>(params, tile).make();
}

REPSR_EMULATE(REPSR_NAME, repsr::FusedNetwork)
