#include "box.h"

#include <cstring>
#include <vector>

#include "gpu.h"

namespace simulated {
namespace {

size_t length_of(const Extent& extent, size_t pitch, size_t slice) {
    return (extent.depth - 1) * slice + (extent.height - 1) * pitch + extent.width_bytes;
}

bool is_empty(const Extent& extent) { return extent.width_bytes == 0 || extent.height == 0 || extent.depth == 0; }

Side side_of(std::uintptr_t address, const Extent& extent, size_t pitch, size_t slice) {
    const Allocation* allocation = gpu().memory.find(address);
    if (is_empty(extent)) return {Side::Kind::PAGEABLE, address, pitch, slice, 0};
    expect(extent.height == 1 || pitch >= extent.width_bytes, CUDA_ERROR_INVALID_VALUE, "rows of a copy that overlap");
    if (allocation == nullptr) {
        expect(!gpu().memory.is_of_device(address), CUDA_ERROR_INVALID_VALUE,
               "an address of the GPU where nothing is allocated (any more)");
        return {Side::Kind::PAGEABLE, address, pitch, slice, 0};
    }
    const size_t length = length_of(extent, pitch, slice);
    if (!allocation->contains(address, length))
        fail(CUDA_ERROR_INVALID_VALUE,
             std::to_string(length) + " bytes at byte " +
                 std::to_string(address - reinterpret_cast<std::uintptr_t>(allocation->data)) +
                 " of an allocation of " + std::to_string(allocation->bytes));
    const bool device = allocation->place == Place::DEVICE;  // page-locked memory is every context's
    expect(!device || allocation->context == &current_context(), CUDA_ERROR_INVALID_VALUE, "memory of another context");
    return {device ? Side::Kind::DEVICE : Side::Kind::PINNED, address, pitch, slice, allocation->id};
}

// What was allocated when the copy was asked for must still be when it is done.
bool is_there(const Side& side) {
    if (side.kind == Side::Kind::PAGEABLE) return true;
    const Allocation* allocation = gpu().memory.find(side.address);
    return allocation != nullptr && allocation->id == side.allocation;
}

void copy_rows(const Side& to, const Side& from, const Extent& extent) {
    auto* target = reinterpret_cast<unsigned char*>(to.address);
    const auto* source = reinterpret_cast<const unsigned char*>(from.address);
    for (size_t z = 0; z < extent.depth; ++z)
        for (size_t y = 0; y < extent.height; ++y)
            std::memmove(target + z * to.slice + y * to.pitch, source + z * from.slice + y * from.pitch,
                         extent.width_bytes);
}

Work copying(const Side& to, const Side& from, const Extent& extent, const char* function) {
    const std::string name = function;
    return {Work::Kind::COPY, name, [=] {
                if (!is_there(to) || !is_there(from)) {
                    say(name + " came to memory that was freed");
                    return CUDA_ERROR_ILLEGAL_ADDRESS;
                }
                copy_rows(to, from, extent);
                return CUDA_SUCCESS;
            }};
}

// A copy whose source is read now.
Work staged(const Side& to, const Side& from, const Extent& extent, const char* function) {
    auto bytes = std::make_shared<std::vector<unsigned char>>(extent.width_bytes * extent.height * extent.depth);
    const size_t pitch = extent.width_bytes, slice = pitch * extent.height;
    const Side stage{Side::Kind::PAGEABLE, reinterpret_cast<std::uintptr_t>(bytes->data()), pitch, slice, 0};
    copy_rows(stage, from, extent);
    Work work = copying(to, stage, extent, function);
    work.run = [bytes, run = std::move(work.run)] { return run(); };
    return work;
}

}  // namespace

Side any_side(std::uintptr_t address, const Extent& extent, size_t pitch, size_t slice) {
    return side_of(address, extent, pitch, slice);
}

Side device_side(std::uintptr_t address, const Extent& extent, size_t pitch, size_t slice) {
    const Side side = side_of(address, extent, pitch, slice);
    expect(is_empty(extent) || side.kind != Side::Kind::PAGEABLE, CUDA_ERROR_INVALID_VALUE,
           "an address of the host where one of the GPU was expected");
    return side;
}

Side host_side(const void* address, const Extent& extent, size_t pitch, size_t slice) {
    const Side side = side_of(reinterpret_cast<std::uintptr_t>(address), extent, pitch, slice);
    expect(side.kind != Side::Kind::DEVICE, CUDA_ERROR_INVALID_VALUE,
           "an address of the GPU where one of the host was expected");
    expect(is_empty(extent) || address != nullptr, CUDA_ERROR_INVALID_VALUE, "a null pointer to copy from or to");
    return side;
}

void copy_async(const Side& to, const Side& from, const Extent& extent, Stream& stream, const char* function) {
    if (is_empty(extent)) return;
    const bool pageable = to.kind == Side::Kind::PAGEABLE || from.kind == Side::Kind::PAGEABLE;
    if (pageable && stream.capture != nullptr)  // the real driver may let it pass; what it then copies is a trap
        invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                   std::string(function) + " with memory of the host that is not page-locked cannot be recorded");
    if (from.kind == Side::Kind::PAGEABLE && to.kind == Side::Kind::DEVICE)
        return submit(stream, staged(to, from, extent, function));
    submit(stream, copying(to, from, extent, function));
    if (pageable) finish(stream);
}

void copy_and_wait(const Side& to, const Side& from, const Extent& extent, Stream& default_stream,
                   const char* function) {
    expect_no_implicit_wait(default_stream);
    if (is_empty(extent)) return;
    if (from.kind == Side::Kind::PAGEABLE && to.kind == Side::Kind::DEVICE) {
        finish(default_stream);  // "a stream sync is performed before the copy is initiated"
        return submit(default_stream, staged(to, from, extent, function));
    }
    submit(default_stream, copying(to, from, extent, function));
    if (to.kind != Side::Kind::DEVICE || from.kind != Side::Kind::DEVICE) finish(default_stream);
}

void fill(std::uintptr_t to, size_t pitch, const Extent& extent, unsigned value, size_t element_bytes, Stream& stream,
          const char* function) {
    if (is_empty(extent)) return;
    const Side side = device_side(to, extent, pitch);
    expect(to % element_bytes == 0 && pitch % element_bytes == 0, CUDA_ERROR_INVALID_VALUE,
           "elements that are not aligned");
    const std::string name = function;
    submit(stream, {Work::Kind::MEMSET, name, [=] {
                        if (!is_there(side)) {
                            say(name + " came to memory that was freed");
                            return CUDA_ERROR_ILLEGAL_ADDRESS;
                        }
                        auto* start = reinterpret_cast<unsigned char*>(side.address);
                        for (size_t y = 0; y < extent.height; ++y)
                            for (size_t x = 0; x < extent.width_bytes; x += element_bytes)
                                std::memcpy(start + y * pitch + x, &value, element_bytes);
                        return CUDA_SUCCESS;
                    }});
}

}  // namespace simulated
