// Small kernels, right and wrong, by which test_cuda_on_host.py sees what the emulation does.
#include "shared_memory.cuh"

struct Arrays {
    const float* in;
    float* out;
    unsigned long long* counts;
    int count;
};

__device__ float* shared_floats() { return reinterpret_cast<float*>(repsr::shared_memory()); }

// out[i] = i for every thread of a grid and of its blocks in three dimensions
extern "C" __global__ void number_threads(const Arrays arrays) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned linear = block * blockDim.x * blockDim.y * blockDim.z + thread;
    arrays.out[linear] += static_cast<float>(linear);
}
REPSR_EMULATE(number_threads, Arrays)

// out[block] = sum of the block's part of in: by shuffles, then through shared memory
extern "C" __global__ void sum_blocks(const Arrays arrays) {
    __shared__ float of_warps[32];
    float sum = arrays.in[blockIdx.x * blockDim.x + threadIdx.x];
    for (unsigned delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(0xffffffffu, sum, delta);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) sum += of_warps[warp];
    arrays.out[blockIdx.x] = sum;
}
REPSR_EMULATE(sum_blocks, Arrays)

// out = in, turned by one within the block; `count` rounds, without its barriers a race
template <bool HAS_BARRIER>
__device__ void turn(const Arrays& arrays) {
    float* shared = shared_floats();
    float value = arrays.in[threadIdx.x];
    for (int round = 0; round < arrays.count; ++round) {
        shared[threadIdx.x] = value;
        if (HAS_BARRIER) __syncthreads();
        value = shared[(threadIdx.x + 1) % blockDim.x];
        if (HAS_BARRIER) __syncthreads();
    }
    arrays.out[threadIdx.x] = value;
}
extern "C" __global__ void turn_safely(const Arrays arrays) { turn<true>(arrays); }
REPSR_EMULATE(turn_safely, Arrays)
extern "C" __global__ void turn_racing(const Arrays arrays) { turn<false>(arrays); }
REPSR_EMULATE(turn_racing, Arrays)

// one thread ends without a barrier that the others wait at
extern "C" __global__ void skip_barrier(const Arrays arrays) {
    if (threadIdx.x == static_cast<unsigned>(arrays.count)) return;
    __syncthreads();
    arrays.out[threadIdx.x] = 1;
}
REPSR_EMULATE(skip_barrier, Arrays)

// two barriers that look like one
extern "C" __global__ void part_ways(const Arrays) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
REPSR_EMULATE(part_ways, Arrays)

// lane 5 takes no part, though the mask names it
extern "C" __global__ void skip_warp(const Arrays) {
    if (threadIdx.x != 5) __syncwarp();
}
REPSR_EMULATE(skip_warp, Arrays)

// a lane that takes part, but is not named
extern "C" __global__ void forget_lane(const Arrays) { __ballot_sync(0x7fffffffu, 1); }
REPSR_EMULATE(forget_lane, Arrays)

// every kind of shuffle, one row of `out` each, and a vote
extern "C" __global__ void shuffle_lanes(const Arrays arrays) {
    const float mine = arrays.in[threadIdx.x];
    float* out = arrays.out + threadIdx.x;
    out[0] = __shfl_sync(0xffffffffu, mine, 7);
    out[32] = __shfl_sync(0xffffffffu, mine, 11, 8);
    out[64] = __shfl_down_sync(0xffffffffu, mine, 3);
    out[96] = __shfl_down_sync(0xffffffffu, mine, 3, 8);
    out[128] = __shfl_xor_sync(0xffffffffu, mine, 5);
    if (threadIdx.x >= 16) out[160] = __shfl_sync(0xffff0000u, mine, 17);
    const unsigned votes = __ballot_sync(0xffffffffu, mine > 0);
    if (threadIdx.x == 0) arrays.counts[0] = votes;
}
REPSR_EMULATE(shuffle_lanes, Arrays)

// out[0] += in, counts[in < 0] += 1
extern "C" __global__ void count_signs(const Arrays arrays) {
    const float value = arrays.in[blockIdx.x * blockDim.x + threadIdx.x];
    atomicAdd(arrays.out, value);
    atomicAdd(arrays.counts + (value < 0), 1ull);
}
REPSR_EMULATE(count_signs, Arrays)

// what shared memory, dynamic and static, begins with; every block leaves something behind
extern "C" __global__ void read_unwritten(const Arrays arrays) {
    __shared__ float fixed[2];
    float* dynamic = shared_floats();
    arrays.out[2 * blockIdx.x] = fixed[1];
    arrays.out[2 * blockIdx.x + 1] = dynamic[3];
    fixed[1] = dynamic[3] = 1;
}
REPSR_EMULATE(read_unwritten, Arrays)

// writes element `count` of the dynamic shared memory
extern "C" __global__ void write_shared(const Arrays arrays) { shared_floats()[arrays.count] = 1; }
REPSR_EMULATE(write_shared, Arrays)

// bytes of in[0] and in[1] in another order, as bits of a float
extern "C" __global__ void permute_bytes(const Arrays arrays) {
    const unsigned low = __float_as_uint(arrays.in[0]), high = __float_as_uint(arrays.in[1]);
    arrays.out[0] = __uint_as_float(__byte_perm(low, high, 0x2547));
}
REPSR_EMULATE(permute_bytes, Arrays)
