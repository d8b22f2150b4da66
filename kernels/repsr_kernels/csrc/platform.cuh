// What lets one text be compiled by nvcc, NVRTC and host compilers.
#pragma once

#if defined(__CUDACC_RTC__)  // NVRTC comes without a standard library
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef unsigned long long uintptr_t;
#else
#include <cstddef>
#include <cstdint>
#endif

#if defined(__CUDACC__)
#define HOST_DEVICE __host__ __device__ __forceinline__
#else
#define HOST_DEVICE inline __attribute__((always_inline))
#endif

// REPSR_EMULATE(kernel, Params) after a kernel exports it from a library that emulates it on a processor; the header
// that does so is included before everything else there, and nothing is to be done elsewhere.
#ifndef REPSR_EMULATE
#define REPSR_EMULATE(kernel, Params)
#endif
