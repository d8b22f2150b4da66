// Kernels of CUDA on a processor: included before everything else by a host compiler (-include), it gives a kernel's
// text what nvcc gives it, and REPSR_EMULATE(kernel, Params) exports
//
//     int repsr_emulate_<kernel>(grid, block, shared_bytes, params, params_bytes)     0, or an emulation::Error
//     const char* repsr_emulate_message()                            what went wrong last in this thread of the host
//
// Blocks run one after the other, in each thread of the host one at a time. A thread of a block is a fiber, made only
// where one has to wait: threads that meet no barrier run one after the other on a single fiber. What a GPU leaves
// undefined is an error where it is seen: a barrier that not all threads reach, lanes of a warp that do not do the same
// together, writing behind the shared memory. Shared memory begins as NaN, never as zeros.
//
// REPSR_EMULATE_ORDER in the environment says in which order blocks, and threads between barriers, run: `forward`
// (default), `reverse` or `shuffle`, in which the order changes with each barrier. A result that depends on it is a
// race.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulation.h"

#define REPSR_CUDA_ON_HOST 1

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static thread_local

#pragma GCC visibility push(hidden)  // see meetings.h

using std::max;
using std::min;

#define REPSR_HERE {__builtin_FILE(), __builtin_LINE()}  // of the caller, as the default of a parameter

namespace emulation {

template <typename To, typename From>
To bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To result;
    std::memcpy(&result, &value, sizeof result);
    return result;
}

// One lane's part in a shuffle.
template <typename T>
struct Shuffle {
    T value, result;
    int source;  // lane
};

template <typename T>
T shuffle(unsigned mask, T value, int source, Site site) {
    Shuffle<T> mine{value, value, source};
    meet_warp(site, mask, [](void* const registers[kLanes], unsigned) {
        for (unsigned lane = 0; lane < kLanes; ++lane) {
            auto* to = static_cast<Shuffle<T>*>(registers[lane]);
            if (to == nullptr) continue;
            const auto* from = static_cast<const Shuffle<T>*>(registers[to->source]);
            if (from == nullptr) {
                fail(kBarrier, "lane %u is given a value by lane %d, which does not take part", lane, to->source);
                return;
            }
            to->result = from->value;
        }
    }, &mine);
    return mine.result;
}

inline int lane() {
    const Machine& m = machine();
    return static_cast<int>((m.current - m.threads.data()) % kLanes);
}

}  // namespace emulation

// Barriers and what a warp does together (CUDA programming guide: synchronization, warp vote and shuffle functions).

inline void __syncthreads(emulation::Site site = REPSR_HERE) { emulation::meet_block(site); }

inline void __syncwarp(unsigned mask = emulation::kAllLanes, emulation::Site site = REPSR_HERE) {
    emulation::meet_warp(site, mask, [](void* const*, unsigned) {}, &site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emulation::Site site = REPSR_HERE) {
    unsigned mine = predicate != 0;
    emulation::meet_warp(site, mask, [](void* const registers[emulation::kLanes], unsigned) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < emulation::kLanes; ++lane)
            if (registers[lane] != nullptr) votes |= *static_cast<unsigned*>(registers[lane]) << lane;
        for (unsigned lane = 0; lane < emulation::kLanes; ++lane)
            if (registers[lane] != nullptr) *static_cast<unsigned*>(registers[lane]) = votes;
    }, &mine);
    return mine;
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, emulation::Site site = REPSR_HERE) {
    const int lane = emulation::lane();
    return emulation::shuffle(mask, value, lane - lane % width + (source & (width - 1)), site);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, emulation::Site site = REPSR_HERE) {
    const int lane = emulation::lane(), source = lane + static_cast<int>(delta);
    return emulation::shuffle(mask, value, source / width == lane / width ? source : lane, site);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, emulation::Site site = REPSR_HERE) {
    const int lane = emulation::lane(), source = lane ^ bits;
    return emulation::shuffle(mask, value, source / width <= lane / width ? source : lane, site);
}

// Atomic operations: whole before another thread of the host, too.

inline int atomicAdd(int* address, int value) { return __atomic_fetch_add(address, value, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* address, unsigned value) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline float atomicAdd(float* address, float value) {
    float before, after;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    do after = before + value;
    while (!__atomic_compare_exchange(address, &before, &after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return before;
}

// Bits.

inline unsigned __float_as_uint(float value) { return emulation::bits<unsigned>(value); }
inline int __float_as_int(float value) { return emulation::bits<int>(value); }
inline float __uint_as_float(unsigned value) { return emulation::bits<float>(value); }
inline float __int_as_float(int value) { return emulation::bits<float>(value); }

inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const uint64_t bytes = uint64_t{high} << 32 | low;
    unsigned result = 0;
    for (int index = 0; index < 4; ++index)
        result |= static_cast<unsigned>(bytes >> (selector >> 4 * index & 7) * 8 & 0xff) << 8 * index;
    return result;
}

#pragma GCC visibility pop

extern "C" inline __attribute__((used)) const char* repsr_emulate_message() { return emulation::machine().message; }

#define REPSR_EMULATE(kernel, Params) REPSR_EMULATE_NAMED(kernel, Params)
#define REPSR_EMULATE_NAMED(kernel, Params)                                                                         \
    extern "C" int repsr_emulate_##kernel(const unsigned grid[3], const unsigned block[3], size_t shared_bytes,     \
                                          const void* params, size_t params_bytes) {                               \
        return emulation::launch_checked<Params>(grid, block, shared_bytes, params, params_bytes,                  \
                                                 [](const void* own) { kernel(*static_cast<const Params*>(own)); }); \
    }
