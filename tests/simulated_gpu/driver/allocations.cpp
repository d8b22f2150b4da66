#include <algorithm>
#include <cstring>

#include "call.h"
#include "settings.h"

namespace simulated {
namespace {

constexpr size_t kPitch = 512;  // what cuMemAllocPitch rounds rows to

const Allocation& allocation_at(std::uintptr_t address, bool is_start) {
    const Allocation* found = gpu().memory.find(address);
    expect(found != nullptr && (!is_start || reinterpret_cast<std::uintptr_t>(found->data) == address),
           CUDA_ERROR_INVALID_VALUE, "an address where nothing is allocated (any more)");
    return *found;
}

// As the real driver, which does not free what is still in use.
void release(Context& context, std::uintptr_t address, Place place, const char* function) {
    expect_safe(function);
    finish(context);
    const Allocation& allocation = allocation_at(address, true);
    expect(allocation.place == place, CUDA_ERROR_INVALID_VALUE, "memory that was not allocated in this way");
    expect(allocation.context == &context, CUDA_ERROR_INVALID_VALUE, "memory of another context");
    if (!gpu().memory.release(allocation)) throw Failure{context.broken = CUDA_ERROR_ILLEGAL_ADDRESS};
}

// Writes an attribute of a pointer; of one that is no allocation's what cuPointerGetAttributes calls null. False: there
// is no such attribute of it.
bool write_attribute(void* data, CUpointer_attribute attribute, std::uintptr_t address) {
    const Allocation* found = gpu().memory.find(address);
    const auto write = [&](auto value, bool applies = true) {
        if (found == nullptr || !applies) value = {};
        std::memcpy(data, &value, sizeof value);
        return found != nullptr && applies;
    };
    const Allocation of = found != nullptr ? *found : Allocation{};
    const bool device = of.place == Place::DEVICE;
    const unsigned type = device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    switch (attribute) {
        case CU_POINTER_ATTRIBUTE_CONTEXT: return write(found != nullptr ? of.context->handle : nullptr);
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: return write(type);
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: return write(CUdeviceptr{address});
        case CU_POINTER_ATTRIBUTE_HOST_POINTER: return write(reinterpret_cast<void*>(address), !device);
        case CU_POINTER_ATTRIBUTE_IS_MANAGED: return write(0u);
        case CU_POINTER_ATTRIBUTE_MAPPED: return write(1);
        case CU_POINTER_ATTRIBUTE_BUFFER_ID: return write(of.id);
        case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return write(reinterpret_cast<CUdeviceptr>(of.data));
        case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return write(of.bytes);
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: {
            const int ordinal = found != nullptr ? 0 : -2;  // CU_DEVICE_INVALID
            std::memcpy(data, &ordinal, sizeof ordinal);
            return found != nullptr;
        }
        default:
            fail(CUDA_ERROR_NOT_SUPPORTED, "attribute " + std::to_string(attribute) + " of pointers is not simulated");
    }
}

}  // namespace
}  // namespace simulated

using namespace simulated;

CUresult cuMemAlloc(CUdeviceptr* address, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(address);
        expect_safe("cuMemAlloc");
        *address = reinterpret_cast<CUdeviceptr>(gpu().memory.allocate(&context, Place::DEVICE, bytes).data);
    });
}

CUresult cuMemAllocPitch(CUdeviceptr* address, size_t* pitch, size_t width, size_t height, unsigned element_bytes) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(address);
        expect_pointer(pitch);
        expect_safe("cuMemAllocPitch");
        expect(element_bytes == 4 || element_bytes == 8 || element_bytes == 16, CUDA_ERROR_INVALID_VALUE,
               "elements that have neither 4, 8 nor 16 bytes");
        *pitch = (width + kPitch - 1) / kPitch * kPitch;
        *address = reinterpret_cast<CUdeviceptr>(gpu().memory.allocate(&context, Place::DEVICE, *pitch * height).data);
    });
}

CUresult cuMemFree(CUdeviceptr address) {
    return in_context(__func__, [&](Context& context) {
        if (address != 0) release(context, address, Place::DEVICE, "cuMemFree");
    });
}

CUresult cuMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(free_bytes);
        expect_pointer(total_bytes);
        *total_bytes = settings().memory_bytes;
        *free_bytes = *total_bytes - gpu().memory.used_bytes();
    });
}

CUresult cuMemGetAddressRange(CUdeviceptr* start, size_t* bytes, CUdeviceptr address) {
    return in_context(__func__, [&](Context&) {
        const Allocation* found = gpu().memory.find(address);
        expect(found != nullptr, CUDA_ERROR_NOT_FOUND, "an address where nothing is allocated (any more)");
        if (start != nullptr) *start = reinterpret_cast<CUdeviceptr>(found->data);
        if (bytes != nullptr) *bytes = found->bytes;
    });
}

CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(address);
        expect_safe("cuMemHostAlloc");
        *address = gpu().memory.allocate(&context, Place::PINNED, bytes, flags).data;
    });
}

CUresult cuMemAllocHost(void** address, size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        expect_pointer(address);
        expect_safe("cuMemAllocHost");
        *address = gpu().memory.allocate(&context, Place::PINNED, bytes).data;
    });
}

CUresult cuMemFreeHost(void* address) {
    return in_context(__func__, [&](Context& context) {
        release(context, reinterpret_cast<std::uintptr_t>(address), Place::PINNED, "cuMemFreeHost");
    });
}

CUresult cuMemHostRegister(void* address, size_t bytes, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        expect(address != nullptr && bytes > 0, CUDA_ERROR_INVALID_VALUE, "no memory to register");
        expect_safe("cuMemHostRegister");
        gpu().memory.add_registered(&context, address, bytes, flags);
    });
}

CUresult cuMemHostUnregister(void* address) {
    return in_context(__func__, [&](Context& context) {
        const Allocation* found = gpu().memory.find(address);
        expect(found != nullptr && found->place == Place::REGISTERED, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED,
               "memory of the host that is not registered");
        release(context, reinterpret_cast<std::uintptr_t>(address), Place::REGISTERED, "cuMemHostUnregister");
    });
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr* device, void* host, unsigned) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(device);
        const auto address = reinterpret_cast<std::uintptr_t>(host);
        expect(allocation_at(address, false).place != Place::DEVICE, CUDA_ERROR_INVALID_VALUE, "memory of the GPU");
        *device = address;
    });
}

CUresult cuMemHostGetFlags(unsigned* flags, void* host) {
    return in_context(__func__, [&](Context&) {
        expect_pointer(flags);
        *flags = allocation_at(reinterpret_cast<std::uintptr_t>(host), false).flags;
    });
}

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
    return call(__func__, [&] {
        expect_pointer(data);
        expect(write_attribute(data, attribute, address), CUDA_ERROR_INVALID_VALUE,
               "an attribute of a pointer that it does not have: nothing is allocated there, or other memory");
    });
}

CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data, CUdeviceptr address) {
    return call(__func__, [&] {
        expect_pointer(attributes);
        expect_pointer(data);
        for (unsigned index = 0; index < count; ++index) write_attribute(data[index], attributes[index], address);
    });
}
