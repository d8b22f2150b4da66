// The dynamic shared memory of a block, by the same words for a GPU and for its emulation on a processor.
#pragma once

#include "platform.cuh"

namespace repsr {

#if defined(__CUDACC__)

extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];

__device__ __forceinline__ unsigned char* shared_memory() { return dynamic_shared_memory; }

#else

inline unsigned char* shared_memory() { return emulation::machine().shared; }

#endif

}  // namespace repsr
