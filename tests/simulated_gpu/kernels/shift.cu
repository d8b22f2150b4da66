// to[index + offset] = from[index] + add: with an offset, beside its memory.
#include "platform.cuh"

struct Shift {
    float* to;
    const float* from;
    int64_t count, offset;
    float add;
};

extern "C" __global__ void shift(const Shift params) {
    const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index < params.count) params.to[index + params.offset] = params.from[index] + params.add;
}
REPSR_EMULATE(shift, Shift)
