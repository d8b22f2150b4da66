// The instructions of mma.cuh alone: one warp, registers as they lie in memory.
#include "mma.cuh"
#include "shared_memory.cuh"

struct Registers {
    const uint32_t* a;  // 32 x 4
    const uint32_t* b;  // 32 x 2
    float* d;           // 32 x 4
};

extern "C" __global__ void multiply(const Registers registers) {
    uint32_t a[4], b[2];
    float d[4];
    for (int k = 0; k < 4; ++k) a[k] = registers.a[4 * threadIdx.x + k], d[k] = registers.d[4 * threadIdx.x + k];
    for (int k = 0; k < 2; ++k) b[k] = registers.b[2 * threadIdx.x + k];
    repsr::multiply_add(d, a, b);
    for (int k = 0; k < 4; ++k) registers.d[4 * threadIdx.x + k] = d[k];
}
REPSR_EMULATE(multiply, Registers)

// d = what ldmatrix loads from 32 rows of 16 bytes, which lie 48 bytes apart; `b` says how far each row is off
extern "C" __global__ void load(const Registers registers) {
    auto* shared = reinterpret_cast<uint32_t*>(repsr::shared_memory());
    for (int word = 0; word < 4; ++word) shared[12 * threadIdx.x + word] = registers.a[4 * threadIdx.x + word];
    __syncthreads();
    uint32_t words[4];
    repsr::load_matrices(words, reinterpret_cast<unsigned char*>(shared + 12 * threadIdx.x) + registers.b[threadIdx.x]);
    for (int k = 0; k < 4; ++k) reinterpret_cast<uint32_t*>(registers.d)[4 * threadIdx.x + k] = words[k];
}
REPSR_EMULATE(load, Registers)
