// Copies of up to three axes: what is copied, and where from and to.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace simulated {

struct Allocation;
struct Stream;

// One side of a copy: rows `pitch` bytes apart, slices `slice` bytes apart.
struct Side {
    enum class Kind { DEVICE, PINNED, PAGEABLE } kind;
    std::uintptr_t address;
    size_t pitch, slice;
    unsigned long long allocation;  // its id; 0 for pageable memory
};

struct Extent {
    size_t width_bytes, height = 1, depth = 1;
};

// A side as a call names it.
//
// Raises:
//     Failure: memory that was freed, that is another kind or another context's, or a range beyond an allocation.
Side device_side(std::uintptr_t address, const Extent& extent, size_t pitch = 0, size_t slice = 0);
Side host_side(const void* address, const Extent& extent, size_t pitch = 0, size_t slice = 0);
Side any_side(std::uintptr_t address, const Extent& extent, size_t pitch = 0, size_t slice = 0);

// What cuMemcpyAsync and its relatives do (API synchronization behavior, CUDA driver API): from pageable memory the
// bytes are taken at once; to pageable memory the call returns when they are there; otherwise it returns at once.
void copy_async(const Side& to, const Side& from, const Extent& extent, Stream& stream, const char* function);

// What cuMemcpy and its relatives do on the default stream: they return when the bytes are there, but between two
// places of the GPU at once, and from pageable memory as soon as the bytes are taken.
void copy_and_wait(const Side& to, const Side& from, const Extent& extent, Stream& default_stream,
                   const char* function);

// Fills rows with an element of 1, 2 or 4 bytes; the width is in bytes.
void fill(std::uintptr_t to, size_t pitch, const Extent& extent, unsigned value, size_t element_bytes, Stream& stream,
          const char* function);

}  // namespace simulated
